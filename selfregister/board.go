// SPDX-License-Identifier: MPL-2.0

package selfregister

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// CheckState is a check as it is to be in the catalog.
type CheckState struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"`
	ServiceID string    `json:"service_id"`
	Status    string    `json:"status"`
	Output    string    `json:"output,omitempty"`
	Since     time.Time `json:"since"`

	notes string
	app   bool // one of the application's, by the file
}

// board holds the state of all checks, those of the file and podplane's own:
// whether the proxy is ready, for both the service and its proxy, and for the
// proxy how the application is, because the mesh looks at the proxy's checks only.
type board struct {
	changed chan struct{} // readable after a status has changed

	mu     sync.Mutex
	checks []CheckState
	proxy  string // its service ID
}

// The IDs of podplane's own checks, after which comes the service's.
const (
	readyCheck = "podplane-ready:"
	appCheck   = "podplane-app:"
)

func newBoard(d *Definition) *board {
	b := &board{changed: make(chan struct{}, 1), proxy: d.ProxyID()}
	now := time.Now()
	add := func(c CheckState) {
		c.Since = now
		if c.Status == "" {
			c.Status, c.Output = Critical, "not looked at yet"
		}
		b.checks = append(b.checks, c)
	}
	for id, checks := range map[string][]Check{d.ID: d.Checks, d.ProxyID(): d.Sidecar.Checks} {
		for _, c := range checks {
			add(CheckState{ID: c.ID, Name: c.Name, ServiceID: id, Status: c.Status, Output: "not made yet", notes: c.Notes, app: id == d.ID})
		}
		add(CheckState{ID: readyCheck + id, Name: "Podplane is ready", ServiceID: id})
	}
	if len(d.Checks) > 0 {
		add(CheckState{ID: appCheck + b.proxy, Name: "Application behind the proxy", ServiceID: b.proxy})
	}
	slices.SortFunc(b.checks, func(x, y CheckState) int { return cmp.Compare(x.ID, y.ID) })
	b.aggregate()
	return b
}

// set records what a check has found.
func (b *board) set(id, status, output string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	changed := b.setLocked(id, status, output)
	b.aggregate()
	if changed {
		poke(b.changed)
	}
}

func (b *board) setLocked(id, status, output string) (changed bool) {
	for i := range b.checks {
		c := &b.checks[i]
		if c.ID != id {
			continue
		}
		c.Output = output
		if changed = c.Status != status; changed {
			c.Status, c.Since = status, time.Now()
		}
	}
	return changed
}

// ready records whether the proxy is.
func (b *board) ready(ok bool, why string) {
	status, output := Passing, "the proxy is ready"
	if !ok {
		status, output = Critical, why
	}
	for _, c := range b.snapshot() {
		if c.ID == readyCheck+c.ServiceID {
			b.set(c.ID, status, output)
		}
	}
}

// aggregate makes the proxy's check of the application as bad as the worst of
// the application's own.
func (b *board) aggregate() {
	worst, output := Passing, "all checks of the application pass"
	for _, c := range b.checks {
		if c.app && severity(c.Status) > severity(worst) {
			worst, output = c.Status, c.Name+": "+c.Output
		}
	}
	b.setLocked(appCheck+b.proxy, worst, output)
}

func severity(status string) int { return slices.Index([]string{Passing, Warning, Critical}, status) }

func (b *board) snapshot() []CheckState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.checks)
}

// poke makes ch readable without blocking.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
