// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/hashicorp/consul/proto-public/pbdataplane"
	"google.golang.org/protobuf/proto"

	"podplane/config"
	"podplane/statefile"
	"podplane/xdsproxy"
)

// serverPatience is how long a start waits for a server before it falls back to
// what was saved by an earlier one.
const serverPatience = 3 * time.Second

// stateFile gives a file in the folder of -xds-cache, for this proxy alone; nil
// if nothing is to survive the process.
func stateFile(c *config.Config, kind string) (*statefile.File, error) {
	folder := c.XDSServer.Cache
	if folder == config.CacheMemory || folder == config.CacheOff {
		return nil, nil //nolint:nilnil // no folder, no file
	}
	p := c.Proxy
	owner := strings.Join([]string{c.Consul.Addresses, p.Partition, p.Namespace, p.NodeName, p.NodeID, p.ID}, "\n")
	sum := sha256.Sum256([]byte(owner))
	f, err := statefile.New(folder, fmt.Sprintf("%s-%s", kind, hex.EncodeToString(sum[:6])), owner)
	return f, coded(ExitConfig, err)
}

// xdsStore gives the file for the configuration of Envoy.
func xdsStore(c *config.Config) (xdsproxy.Store, error) {
	f, err := stateFile(c, "xds")
	if f == nil || err != nil {
		return nil, err
	}
	return f, nil
}

// bootstrapAnswer asks Consul about the proxy. Where no server answers and an
// earlier process has saved what one answered then, that is taken: with the
// configuration that was saved beside it, Envoy starts as it was. A server that
// answers, be it with a refusal, is believed.
func (d *Dataplane) bootstrapAnswer(ctx context.Context) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	saved, err := stateFile(d.config, "bootstrap")
	if err != nil {
		return nil, err
	}
	ref := proxyRef(d.config.Proxy)
	if saved == nil {
		return d.session.BootstrapParams(ctx, ref)
	}
	answer, err := d.askForAWhile(ctx)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		if answer := d.resume(saved); answer != nil {
			return answer, nil
		}
		answer, err = d.session.BootstrapParams(ctx, ref)
	}
	if err != nil {
		return nil, err
	}
	if err := saveAnswer(saved, answer); err != nil {
		d.log.Warn("the bootstrap parameters cannot be saved", "error", err)
	}
	return answer, nil
}

// resume gives what an earlier process saved, if no server answers and there is
// something to be used.
func (d *Dataplane) resume(saved *statefile.File) *pbdataplane.GetEnvoyBootstrapParamsResponse {
	if !d.serversAway() {
		return nil
	}
	answer, err := loadAnswer(saved)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		d.log.Warn("the saved bootstrap parameters are not used", "error", err)
		return nil
	}
	d.log.Warn("no consul server answers, starting as the last time", "saved", saved.Path())
	d.session.Tolerate()
	close(d.resumed)
	return answer
}

func (d *Dataplane) askForAWhile(ctx context.Context) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, serverPatience)
	defer cancel()
	return d.session.BootstrapParams(ctx, proxyRef(d.config.Proxy))
}

// serversAway tells whether no server has answered so far.
func (d *Dataplane) serversAway() bool {
	st := d.session.Status()
	return !st.Connected && st.Refused == nil
}

func loadAnswer(f *statefile.File) (*pbdataplane.GetEnvoyBootstrapParamsResponse, error) {
	content, err := f.Load()
	if err != nil {
		return nil, err
	}
	answer := &pbdataplane.GetEnvoyBootstrapParamsResponse{}
	return answer, proto.Unmarshal(content, answer)
}

func saveAnswer(f *statefile.File, answer *pbdataplane.GetEnvoyBootstrapParamsResponse) error {
	content, err := proto.Marshal(answer)
	if err != nil {
		return err
	}
	return f.Save(content)
}
