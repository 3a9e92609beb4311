// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"slices"

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
	if !known {
		r.log.Warn(message, "pod", key, "detail", detail)
	}
}

// common are reasons that are not a pod's own: what one pod meets all meet.
var common = []string{"timeout", "unreachable", "server", "limited"}

// failed logs why a pod has to wait, and what all pods have to wait for only once.
func (r *reconciler) failed(key types.NamespacedName, err error) {
	why := reason(err)
	if !slices.Contains(common, why) {
		r.tell(key, "cannot bring the catalog up to date with a pod, will try again", oneLine(err))
		return
	}
	r.mu.Lock()
	known := r.away == why
	r.away = why
	r.mu.Unlock()
	if !known {
		r.log.Warn("pods have to wait, will try again", "reason", why, "pod", key, "error", oneLine(err))
	}
}

// answered ends what all pods had to wait for.
func (r *reconciler) answered() {
	r.mu.Lock()
	was := r.away
	r.away = ""
	r.mu.Unlock()
	if was != "" {
		r.log.Info("consul answers again, pods are brought up to date")
	}
}
