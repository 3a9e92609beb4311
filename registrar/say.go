// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"errors"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// registered counts and logs a pod whose part of the catalog was written.
func (r *reconciler) registered(key types.NamespacedName, state state) {
	r.metrics.registrations.Inc()
	w := state.instances[0]
	r.log.Info("registered pod", "pod", key, "service", w.service, "node", w.node, "status", w.status)
}

// tell logs what people should know of a pod, once for as long as it stays the same. An empty message is that there is
// nothing any more.
func (r *reconciler) tell(key types.NamespacedName, message, detail string) {
	said := message + detail
	r.mu.Lock()
	known := r.told[key] == said
	r.told[key] = said
	if said == "" {
		delete(r.told, key)
	}
	r.mu.Unlock()
	if !known && said != "" {
		r.log.Warn(message, "pod", key, "detail", detail)
	}
}

// A system is one of the two that pods may have to wait for.
type system string

const (
	consul     system = "consul"
	kubernetes system = "the API server"
)

// outage is that of a system which does not do what it is asked for.
type outage struct {
	reason string // empty if it does
	since  time.Time
}

// outagePause is the least time between two outages of a system that are told. One that answers only now and then, as
// under a rate limit, would have two lines for each answer.
const outagePause = 30 * time.Second

// common are reasons that are not a pod's own: what one pod meets all meet.
var common = []string{"timeout", "unreachable", "server", "limited"}

// failed logs why a pod has to wait, and what all pods have to wait for only once.
func (r *reconciler) failed(key types.NamespacedName, err error) {
	why, of := reason(err), consul
	if errors.As(err, new(*kubeError)) {
		of = kubernetes
	}
	if !slices.Contains(common, why) {
		r.tell(key, "cannot bring the catalog up to date with a pod, will try again", oneLine(err))
		return
	}
	r.mu.Lock()
	known := r.away[of].reason == why || time.Since(r.away[of].since) < outagePause
	if !known {
		r.away[of] = outage{reason: why, since: time.Now()}
	}
	r.mu.Unlock()
	if !known {
		r.log.Warn("pods have to wait, will try again", "for", of, "reason", why, "pod", key, "error", oneLine(err))
	}
}

// answered ends what all pods had to wait for.
func (r *reconciler) answered(of system) {
	r.mu.Lock()
	was := r.away[of]
	r.away[of] = outage{since: was.since}
	r.mu.Unlock()
	if was.reason != "" {
		r.log.Info("pods are brought up to date again", "for", of)
	}
}
