// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"

	"github.com/hashicorp/consul/api"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// A conflictError says that somebody else's instance has the ID that a pod's needs.
type conflictError struct {
	place
	owner  string
	advice string
}

// What helps against conflicts.
const (
	adviceCluster = "two clusters that share a Consul datacenter need different node suffixes"
	advicePod     = "with IDs in consul-k8s's form, pods of two namespaces need different names"
)

// Error says what is in the way, and what helps.
func (e *conflictError) Error() string {
	return fmt.Sprintf("service %q on node %q belongs to %s: %s", e.id, e.node, e.owner, e.advice)
}

// A txnError is a transaction that Consul refused as a whole.
type txnError struct{ reasons []string }

// Error gives Consul's reasons.
func (e *txnError) Error() string { return "transaction refused: " + strings.Join(e.reasons, "; ") }

// txn applies operations together or not at all.
func (c *catalog) txn(ctx context.Context, ops api.TxnOps) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	ok, answer, _, err := c.cfg.Consul.Txn().Txn(ops, (&api.QueryOptions{}).WithContext(ctx))
	if err != nil {
		return statusOf(err)
	}
	c.answers.Add(1)
	if ok {
		return nil
	}
	failed := &txnError{}
	for _, e := range answer.Errors {
		failed.reasons = append(failed.reasons, e.What)
	}
	return failed
}

// statusOf gives the error of a transaction the status that Consul's client drops, and tells of other errors.
func statusOf(err error) error {
	text, failed := strings.CutPrefix(err.Error(), "Failed request: ")
	if !failed {
		return err
	}
	code := http.StatusInternalServerError
	switch {
	case strings.Contains(text, "Permission denied"), strings.Contains(text, "ACL not found"):
		code = http.StatusForbidden
	case strings.Contains(text, "rate limit"):
		code = http.StatusTooManyRequests
	}
	return fmt.Errorf("transaction: %w", api.StatusError{Code: code, Body: text})
}

// register writes one instance with its node and check.
func (c *catalog) register(ctx context.Context, r *api.CatalogRegistration) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	_, err := c.cfg.Consul.Catalog().Register(r, (&api.WriteOptions{}).WithContext(ctx))
	if err == nil {
		c.answers.Add(1)
	}
	return err
}

// services lists what is on a node, in all namespaces; no node gives nil. A filter is Consul's expression, "" for all.
// The answer is not older than the request.
func (c *catalog) services(ctx context.Context, node, filter string) (*api.CatalogNodeServiceList, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	list, _, err := c.cfg.Consul.Catalog().NodeServiceList(node, c.query("*", filter).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	c.answers.Add(1)
	if list == nil || list.Node == nil {
		return nil, nil //nolint:nilnil // no node is no error
	}
	return list, nil
}

// checks lists a node's checks in one namespace.
func (c *catalog) checks(ctx context.Context, node, namespace string) (api.HealthChecks, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	checks, _, err := c.cfg.Consul.Health().Node(node, c.query(namespace, "").WithContext(ctx))
	return checks, err
}

// syntheticNodes lists the names of the nodes on which no agent runs, this cluster's and others'.
func (c *catalog) syntheticNodes(ctx context.Context) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.Timeout)
	defer cancel()
	nodes, _, err := c.cfg.Consul.Catalog().Nodes(c.query("", `Meta["`+metaSynthetic+`"] == "true"`).WithContext(ctx))
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(nodes))
	for _, n := range nodes {
		names = append(names, n.Node)
	}
	return names, nil
}

// query names the tenancy only where there is one: Consul's community edition refuses requests that do.
func (c *catalog) query(namespace, filter string) *api.QueryOptions {
	q := &api.QueryOptions{Filter: filter, RequireConsistent: true, Partition: c.cfg.Partition}
	if c.cfg.Namespaces.Enabled {
		q.Namespace = namespace
	}
	return q
}

// plain is what needs no quoting in a filter.
var plain = regexp.MustCompile(`^[\w.-]+$`)

// byID selects services by their IDs. An ID that would need quoting selects all: the caller looks again.
func byID(records []record) string {
	terms := make([]string, 0, len(records))
	for _, r := range records {
		if !plain.MatchString(r.id) {
			return ""
		}
		terms = append(terms, `ID == "`+r.id+`"`)
	}
	return strings.Join(terms, " or ")
}

// A kubeError is one of the API server.
type kubeError struct{ error }

// Error says of whom it is.
func (e *kubeError) Error() string { return "look for pod: " + e.error.Error() }

// Unwrap gives the API server's own.
func (e *kubeError) Unwrap() error { return e.error }

// status is the HTTP status of an error, of Consul or the API server; 0 if it has none.
func status(err error) int {
	var ofConsul api.StatusError
	var ofKubernetes apierrors.APIStatus
	switch {
	case errors.As(err, &ofConsul):
		return ofConsul.Code
	case errors.As(err, &ofKubernetes):
		return int(ofKubernetes.Status().Code)
	default:
		return 0
	}
}

// reason sorts an error for the metrics.
func reason(err error) string {
	var conflict *conflictError
	var txn *txnError
	var network net.Error
	switch code := status(err); {
	case errors.As(err, &conflict):
		return "conflict"
	case errors.As(err, &txn):
		return "stale"
	case code == http.StatusForbidden:
		return "denied"
	case code == http.StatusTooManyRequests:
		return "limited"
	case code >= http.StatusInternalServerError:
		return "server"
	case code > 0:
		return "refused"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &network) && network.Timeout():
		return "timeout"
	case errors.As(err, &network):
		return "unreachable"
	default:
		return "other"
	}
}
