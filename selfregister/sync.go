// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
)

// errAgentsNode marks a node that is not for us.
var errAgentsNode = errors.New("a Consul agent keeps this node")

// sync writes the registration. The whole of it begins with a look at the node.
func (r *Registrar) sync(ctx context.Context, whole bool) error {
	address, err := r.address(ctx)
	if err != nil {
		return err
	}
	skipNode := true
	if whole {
		n, err := r.catalog.nodeServices(ctx, r.cfg.Node)
		if err != nil {
			return err
		}
		if n.isAgents() {
			return fmt.Errorf("node %s: %w, which removes whatever it did not register itself: "+
				"name another one with -proxy-node-name, or register the service at the agent", r.cfg.Node, errAgentsNode)
		}
		r.warnOfTakeover(n)
		// A node that podplane has made follows the machine's address.
		skipNode = !n.isOurs() || n.Node.Address == address
		if err := r.clean(ctx, n); err != nil {
			return err
		}
	}
	all := r.registrations(address, skipNode)
	if r.draining && r.Status().Registered {
		slices.Reverse(all) // the mesh looks at the proxy
	}
	for _, registration := range all {
		before := r.mayBe
		r.mayBe = true
		sent, err := r.catalog.register(ctx, registration)
		r.mayBe = before || sent || err == nil
		if err != nil {
			return r.explain(err)
		}
	}
	return nil
}

// explain tells what a token needs.
func (r *Registrar) explain(err error) error {
	var answer *AnswerError
	if !errors.As(err, &answer) || answer.Code != http.StatusForbidden {
		return err
	}
	d := r.cfg.Definition
	return fmt.Errorf("%w (the token needs service:write for %q and %q, and node:write for %q unless somebody else makes that node)",
		err, d.Name, d.Sidecar.Name, r.cfg.Node)
}

// address is where others reach this machine: as the file says, or the address
// from which the server is reached.
func (r *Registrar) address(ctx context.Context) (string, error) {
	if a := r.cfg.Definition.Address; a != "" {
		return a, nil
	}
	s, err := r.cfg.Server()
	if err != nil {
		return "", &noServerError{err}
	}
	// This sends nothing: the kernel looks up the route.
	conn, err := (&net.Dialer{}).DialContext(ctx, "udp", net.JoinHostPort(s.Host, strconv.Itoa(defaultHTTPPort)))
	if err != nil {
		return "", fmt.Errorf("find out the own address: %w", err)
	}
	defer func() { _ = conn.Close() }()
	local, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return "", errors.New("find out the own address: no UDP address")
	}
	r.warnOfLoopback(local.IP)
	return local.IP.String(), nil
}

// warnOfLoopback is for a Consul server on this machine: the way to it does not
// tell where others reach the machine.
func (r *Registrar) warnOfLoopback(own net.IP) {
	if own.IsLoopback() && !r.loopback {
		r.log.Warn("no other machine reaches the registered address: set address in the service file", "address", own.String())
	}
	r.loopback = own.IsLoopback()
}

// warnOfTakeover says that a registration of somebody else's is overwritten.
func (r *Registrar) warnOfTakeover(n node) {
	for _, s := range n.Services {
		if r.isOwnID(s.ID) && s.Meta[metaInstance] != r.cfg.Instance && !r.Status().Registered {
			r.log.Warn("taking over a registration that was not made here", "node", r.cfg.Node, "service_id", s.ID,
				"managed_by", s.Meta[metaManagedBy])
		}
	}
}

func (r *Registrar) isOwnID(id string) bool {
	return id == r.cfg.Definition.ID || id == r.cfg.Definition.ProxyID()
}

// clean removes what an earlier start with another definition has left behind:
// services with our mark, and checks of ours that the file has no more.
func (r *Registrar) clean(ctx context.Context, n node) error {
	// Proxies first: a service must not go before what is in front of it.
	slices.Reverse(n.Services)
	for _, s := range n.Services {
		if s.Meta[metaManagedBy] != managedBy || s.Meta[metaInstance] != r.cfg.Instance || r.isOwnID(s.ID) {
			continue
		}
		if err := r.catalog.deregister(ctx, deregistration{Node: r.cfg.Node, ServiceID: s.ID}); err != nil {
			return err
		}
		r.metrics.leftovers.Inc()
		r.log.Info("removed what an earlier start has left behind", "node", r.cfg.Node, "service_id", s.ID)
	}
	if !slices.ContainsFunc(n.Services, func(s nodeService) bool { return r.isOwnID(s.ID) }) {
		return nil
	}
	checks, err := r.catalog.nodeChecks(ctx, r.cfg.Node)
	if err != nil {
		return err
	}
	wanted := r.board.snapshot()
	for _, c := range checks {
		if c.Type != checkType || !r.isOwnID(c.ServiceID) ||
			slices.ContainsFunc(wanted, func(w CheckState) bool { return w.ID == c.CheckID }) {
			continue
		}
		if err := r.catalog.deregister(ctx, deregistration{Node: r.cfg.Node, CheckID: c.CheckID}); err != nil {
			return err
		}
	}
	return nil
}
