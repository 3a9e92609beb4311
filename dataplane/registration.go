// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/oklog/run"

	"podplane/lifecycle"
	"podplane/selfregister"
)

// registrationTask is the name of the task; the registration waits for all others.
const registrationTask = "registration"

// readServiceFile gives the definition of the service that is to be registered,
// nil without a service file. What follows from it takes its place in the
// options' settings, of which it makes a copy.
func readServiceFile(o *Options) (*selfregister.Definition, error) {
	file := o.Config.Registration.ServiceFile
	if file == "" {
		return nil, nil //nolint:nilnil // no file, no definition
	}
	definition, err := selfregister.Load(file)
	if err != nil {
		return nil, coded(ExitConfig, err)
	}
	c := *o.Config
	c.Proxy.ID = definition.ProxyID()
	for _, place := range []struct {
		setting *string
		file    string
		name    string
	}{
		{&c.Proxy.Namespace, definition.Namespace, "namespace"},
		{&c.Proxy.Partition, definition.Partition, "partition"},
	} {
		if err := agree(place.setting, place.file, place.name); err != nil {
			return nil, coded(ExitConfig, err)
		}
	}
	if c.Proxy.NodeName == "" {
		if c.Proxy.NodeName, err = os.Hostname(); err != nil {
			return nil, coded(ExitConfig, fmt.Errorf("-proxy-node-name is not set, and the machine does not tell its name: %w", err))
		}
	}
	o.Config = &c
	o.Log.Info("service file read", "path", file, "service_id", definition.ID, "proxy_id", c.Proxy.ID, "node", c.Proxy.NodeName)
	return definition, nil
}

// agree lets a setting follow the service file, unless it says something else.
func agree(setting *string, fromFile, name string) error {
	if fromFile == "" || fromFile == *setting {
		return nil
	}
	if *setting != "" {
		return fmt.Errorf("-proxy-%s is %q, and the service file says %q", name, *setting, fromFile)
	}
	*setting = fromFile
	return nil
}

// buildRegistrar makes what registers the service. It is the last of the parts,
// because it looks at the others.
func (d *Dataplane) buildRegistrar() error {
	if d.definition == nil {
		return nil
	}
	changes, forget := d.session.Changes()
	c := registrationConfig(d.config)
	c.Definition = d.definition
	c.Server = d.registrationServer
	c.Changes = changes
	c.Redact = d.session.Redact
	c.Ready = d.readyToRegister
	c.Draining = d.drainer.Asked()
	c.Report = d.registrationReport
	c.Registerer = d.registry
	registrar, err := selfregister.New(c, d.log.Named("registration"))
	if err != nil {
		forget()
		return coded(ExitConfig, err)
	}
	d.registrar = registrar
	d.unbind = append(d.unbind, func() error { forget(); return nil })
	return nil
}

// registrationServer is the server in use, for requests past the session.
func (d *Dataplane) registrationServer() (selfregister.Server, error) {
	a, err := d.session.Access()
	return selfregister.Server{Host: a.Host, Token: a.Token, TLS: a.TLS, Epoch: a.Epoch}, err
}

// readyToRegister tells whether the proxy is ready, the registration aside, which
// must not wait for itself.
func (d *Dataplane) readyToRegister() (bool, string) {
	st := d.readiness.State()
	if st.Terminating != "" {
		return false, st.Terminating
	}
	var pending []string
	for _, p := range st.Pending {
		if p.Task != registrationTask {
			pending = append(pending, p.Task)
		}
	}
	if len(pending) > 0 {
		return false, "waiting for " + strings.Join(pending, ", ")
	}
	return true, ""
}

func (d *Dataplane) registrationReport(err error) {
	if err == nil {
		d.tasks.registration.Done()
		return
	}
	d.tasks.registration.Fail(err)
}

// addSession adds the session and the registration to the group, as its last.
// Whatever ends the group, the session outlives the removal of the registration,
// for which its token is needed.
func (d *Dataplane) addSession(ctx context.Context, group *run.Group) {
	removed := make(chan struct{})
	if d.registrar == nil {
		close(removed)
	} else {
		ctx, cancel := context.WithCancel(ctx)
		group.Add(func() error {
			defer close(removed)
			return d.registrar.Run(ctx)
		}, func(error) { cancel() })
	}
	// The group interrupts in this order, so that the registrar knows by now. It
	// takes no longer than selfregister.EndTimeout.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	group.Add(func() error { return d.session.Run(ctx) }, func(error) {
		<-removed
		cancel()
	})
}

// fitRegistration leaves time for the removal of the registration within the
// pod's termination grace period.
func fitRegistration(c lifecycle.DrainConfig) lifecycle.DrainConfig {
	if c.TerminationGrace > 0 {
		c.TerminationGrace = max(1, c.TerminationGrace-selfregister.EndTimeout)
	}
	return c
}
