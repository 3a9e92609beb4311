// SPDX-License-Identifier: MPL-2.0

package dataplane

import (
	"context"
	"errors"
	"time"

	"podplane/config"
	"podplane/lifecycle"
)

// configPoll is the pause between two looks whether Envoy has accepted its first
// configuration. Envoy tells nobody by itself.
const configPoll = 100 * time.Millisecond

// tasks are what the pod's readiness waits for.
type tasks struct {
	consul *lifecycle.Task // the session has been established once
	live   *lifecycle.Task // the Envoy that runs is LIVE
	config *lifecycle.Task // it has accepted clusters and listeners
	// registration is in the catalog; nil if somebody else sees to it.
	registration *lifecycle.Task
}

// addTasks is called by New: a task that were added later would leave a moment in
// which nothing is pending, and a probe could take the pod for ready.
func addTasks(r *lifecycle.Readiness, c *config.Config) tasks {
	t := tasks{consul: r.Add("consul session")}
	if c.Registration.ServiceFile != "" {
		t.registration = r.Add(registrationTask)
	}
	if c.Mode == config.ModeSidecar {
		t.live = r.Add("envoy live")
		t.config = r.Add("envoy configuration")
	}
	return t
}

// waitLive waits until the pod can do its work: until Envoy is LIVE, or without
// one until there is a session with Consul.
func (d *Dataplane) waitLive(ctx context.Context) error {
	if d.supervisor == nil {
		return d.session.WaitReady(ctx)
	}
	return d.supervisor.WaitLive(ctx)
}

// aliveTimeout is how long the supervision may take to show that it moves.
const aliveTimeout = time.Second

// alive is what /live tells: whether the supervision of Envoy still moves.
func (d *Dataplane) alive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, aliveTimeout)
	defer cancel()
	if d.supervisor == nil {
		return nil
	}
	return d.supervisor.Alive(ctx)
}

// watchReadiness keeps the readiness tasks up to date until ctx is done.
func (d *Dataplane) watchReadiness(ctx context.Context) error {
	d.awaitSession(ctx, d.tasks.consul)
	if d.supervisor == nil {
		<-ctx.Done()
		return nil
	}
	for ctx.Err() == nil {
		changed := d.supervisor.Changed()
		d.followEnvoy(ctx, d.tasks)
		select {
		case <-ctx.Done():
		case <-changed:
		}
	}
	return nil
}

// awaitSession waits for the first session and shows meanwhile what it waits for.
func (d *Dataplane) awaitSession(ctx context.Context, task *lifecycle.Task) {
	tick := time.NewTicker(configPoll)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.session.Ready():
			task.Done()
			return
		case <-d.resumed: // the session of the earlier process counts
			task.Done()
			return
		case <-tick.C:
			if st := d.session.Status(); st.LastError != "" {
				task.Fail(errors.New(st.LastError))
			}
		}
	}
}

// followEnvoy brings the two Envoy tasks in line with the Envoy that runs, and
// returns when that has changed.
func (d *Dataplane) followEnvoy(ctx context.Context, t tasks) {
	changed := d.supervisor.Changed()
	if d.supervisor.Status().Live() {
		t.live.Done()
		d.awaitConfig(ctx, t.config)
		return
	}
	t.config.Fail(nil)
	tick := time.NewTicker(configPoll)
	defer tick.Stop()
	for {
		t.live.Fail(d.notLive())
		select {
		case <-ctx.Done():
			return
		case <-changed:
			return
		case <-tick.C: // what the servers say may be new
		}
	}
}

// notLive says why Envoy is not LIVE, in the servers' own words if it is they who
// keep its configuration back.
func (d *Dataplane) notLive() error {
	st := d.supervisor.Status()
	text := "envoy is " + string(st.State)
	if st.LastExit != "" {
		text += ", last exit: " + st.LastExit
	}
	if xds := d.xds.Status(); xds.LastMessage.IsZero() && xds.LastError != "" {
		text += ", consul server: " + xds.LastError
	}
	session := d.session.Status()
	if session.BootstrapError != "" {
		text += ", bootstrap parameters: " + session.BootstrapError
	}
	if !session.Connected && session.LastError != "" {
		text += ", consul session: " + session.LastError
	}
	return errors.New(text)
}

// awaitConfig waits until this Envoy has accepted clusters and listeners, or is
// not the same any more.
func (d *Dataplane) awaitConfig(ctx context.Context, task *lifecycle.Task) {
	changed := d.supervisor.Changed()
	if !d.supervisor.Status().Live() {
		return
	}
	tick := time.NewTicker(configPoll)
	defer tick.Stop()
	for {
		accepted, err := d.admin.Accepted(ctx)
		switch {
		case err != nil:
			task.Fail(err)
		case !accepted.Clusters:
			task.Fail(d.rejection("Cluster"))
		case !accepted.Listeners:
			task.Fail(d.rejection("Listener"))
		default:
			task.Done()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
			return
		case <-tick.C:
		}
	}
}

// rejection says why Envoy has not accepted anything of a type.
func (d *Dataplane) rejection(resource string) error {
	if reason := d.xds.Status().Types[resource].Rejected; reason != "" {
		return errors.New("envoy rejected it: " + reason)
	}
	return errors.New("no " + resource + " configuration accepted yet")
}
