// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Readiness is a set of named tasks. It is ready when none of them is pending and nothing is terminating. The zero value
// is an empty set; it must not be copied.
type Readiness struct {
	mu          sync.Mutex
	tasks       []*Task
	terminating string
}

// Task is one thing that must be done before the pod is ready.
type Task struct {
	owner *Readiness
	name  string
	// Guarded by owner.mu.
	pending bool
	since   time.Time
	lastErr string
}

// Pending describes a task that is not done.
type Pending struct {
	Task string `json:"task"`
	// Since is when the task became pending.
	Since time.Time `json:"since"`
	// LastError is what last went wrong with it, empty when nothing did.
	LastError string `json:"last_error,omitempty"`
}

// Add adds a pending task. Names are for people: "consul session", "envoy live".
func (r *Readiness) Add(name string) *Task {
	t := &Task{owner: r, name: name, pending: true, since: time.Now()}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tasks = append(r.tasks, t)
	return t
}

// Done marks the task as done and forgets its last error.
func (t *Task) Done() { t.set(false, "") }

// Fail makes the task pending, again if it was done, with the reason. A nil error is allowed: pending without a reason.
func (t *Task) Fail(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	t.set(true, text)
}

func (t *Task) set(pending bool, text string) {
	t.owner.mu.Lock()
	defer t.owner.mu.Unlock()
	if pending && !t.pending {
		t.since = time.Now()
	}
	t.pending, t.lastErr = pending, text
}

// Terminate makes the pod unready for good. The first reason is kept.
func (r *Readiness) Terminate(reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.terminating == "" {
		r.terminating = reason
	}
}

// ReadyState is a snapshot of the readiness.
type ReadyState struct {
	Ready bool `json:"ready"`
	// Terminating is why the pod is going away, empty when it is not.
	Terminating string    `json:"terminating,omitempty"`
	Pending     []Pending `json:"pending,omitempty"`
}

// State is a snapshot; its pending tasks are sorted by name.
func (r *Readiness) State() ReadyState {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := ReadyState{Terminating: r.terminating}
	for _, t := range r.tasks {
		if t.pending {
			s.Pending = append(s.Pending, Pending{Task: t.name, Since: t.since, LastError: t.lastErr})
		}
	}
	slices.SortFunc(s.Pending, func(a, b Pending) int { return strings.Compare(a.Task, b.Task) })
	s.Ready = s.Terminating == "" && len(s.Pending) == 0
	return s
}
