// SPDX-License-Identifier: MPL-2.0

package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"podplane/integration/consultest"
	"podplane/integration/ports"
)

const loopback = "127.0.0.1"

// Issuer is the `iss` of ServiceAccounts' tokens.
const Issuer = "https://kubernetes.default.svc.cluster.local"

// Names of files in the cluster's folder.
const (
	caFile       = "ca.pem"
	certFile     = "apiserver.pem"
	keyFile      = "apiserver.key"
	signingFile  = "serviceaccounts.key"
	tokensFile   = "tokens.csv"
	kubeconfig   = "controllers.json"
	controllerID = "system:kube-controller-manager"
)

func (c *Cluster) path(name string) string { return filepath.Join(c.dir, name) }

// writeFiles makes the keys, certificates and tokens.
func (c *Cluster) writeFiles() (err error) {
	if c.ca, err = consultest.NewCA("kubetest"); err != nil {
		return err
	}
	leaf, err := c.ca.Issue("localhost", loopback, ServiceIP, "kubernetes.default.svc")
	if err != nil {
		return err
	}
	signing, err := signingKey()
	if err != nil {
		return err
	}
	c.admin = secret()
	controllers := secret()
	config, err := c.Kubeconfig(controllers)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		caFile: c.ca.PEM(), certFile: leaf.Cert, keyFile: leaf.Key, signingFile: signing, kubeconfig: config,
		// token, user, uid, groups: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#static-token-file
		tokensFile: fmt.Appendf(nil, "%s,admin,admin,system:masters\n%s,%[3]s,%[3]s,system:masters\n",
			c.admin, controllers, controllerID),
	}
	for name, data := range files {
		if err := os.WriteFile(c.path(name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// Kubeconfig returns a kubeconfig file with a bearer token of the caller's choice.
func (c *Cluster) Kubeconfig(token string) ([]byte, error) {
	type named map[string]any
	return json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": "test",
		"clusters": []named{{"name": "test", "cluster": named{"server": c.URL(), "certificate-authority-data": c.ca.PEM()}}},
		"users":    []named{{"name": "test", "user": named{"token": token}}},
		"contexts": []named{{"name": "test", "context": named{"cluster": "test", "user": "test"}}},
	})
}

func (c *Cluster) etcdURL() string { return "http://" + ports.HostPort(loopback, c.etcdPort) }

func (c *Cluster) etcdArgs() []string {
	peer := "http://" + ports.HostPort(loopback, c.peerPort)
	return []string{
		"--name=test", "--data-dir=" + c.path("etcd"),
		"--listen-client-urls=" + c.etcdURL(), "--advertise-client-urls=" + c.etcdURL(),
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=test=" + peer,
		"--unsafe-no-fsync", // nothing of it is needed after a crash
		"--log-level=warn",
	}
}

func (c *Cluster) apiArgs() []string {
	return []string{
		"--etcd-servers=" + c.etcdURL(),
		"--bind-address=" + loopback, "--secure-port=" + strconv.Itoa(c.apiPort),
		"--tls-cert-file=" + c.path(certFile), "--tls-private-key-file=" + c.path(keyFile),
		"--service-cluster-ip-range=" + ServiceCIDR,
		// It would look for another one by the default route, which need not be. Loopback may not be an endpoint.
		"--advertise-address=" + loopback, "--endpoint-reconciler-type=none",
		"--authorization-mode=Node,RBAC", "--anonymous-auth=false", "--token-auth-file=" + c.path(tokensFile),
		"--service-account-issuer=" + Issuer,
		"--service-account-key-file=" + c.path(signingFile),
		"--service-account-signing-key-file=" + c.path(signingFile),
		"--allow-privileged",
		"--shutdown-delay-duration=0s",
		"--event-ttl=10m", "--profiling=false",
	}
}

func (c *Cluster) controllerArgs() []string {
	return []string{
		"--kubeconfig=" + c.path(kubeconfig),
		"--secure-port=0", "--leader-elect=false",
		// Those that are left out manage nodes and clouds that there are not.
		"--controllers=*,-nodeipam,-nodelifecycle,-cloud-node-lifecycle,-service-lb-controller,-node-route-controller",
		"--root-ca-file=" + c.path(caFile), "--service-account-private-key-file=" + c.path(signingFile),
		"--concurrent-endpoint-syncs=10",
		"--kube-api-qps=1000", "--kube-api-burst=2000",
	}
}

func signingKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), nil
}

func secret() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails, see crypto/rand
	return hex.EncodeToString(b[:])
}
