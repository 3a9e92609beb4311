// SPDX-License-Identifier: MPL-2.0

package selfregister

import "time"

// Status is a snapshot of the registration, fit to be shown: it holds no secret.
type Status struct {
	Node      string `json:"node"`
	ServiceID string `json:"service_id"`
	ProxyID   string `json:"proxy_id"`
	// Registered tells whether the catalog was brought in line, and nothing is known
	// to the contrary.
	Registered bool `json:"registered"`
	// Since is when Registered changed last.
	Since time.Time `json:"since,omitzero"`
	// LastWriteAt is when the catalog was brought in line last.
	LastWriteAt time.Time `json:"last_write_at,omitzero"`
	// LastError is the last thing that went wrong. It stays after a recovery.
	LastError   string    `json:"last_error,omitempty"`
	LastErrorAt time.Time `json:"last_error_at,omitzero"`
	// Checks are those of the service and of its proxy, as they are to be.
	Checks []CheckState `json:"checks"`
}

// Status is the state of the registration at this moment.
func (r *Registrar) Status() Status {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.status
	s.Checks = r.board.snapshot()
	return s
}
