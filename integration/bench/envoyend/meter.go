// SPDX-License-Identifier: MPL-2.0

package envoyend

import (
	"context"
	"fmt"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
)

// meter takes the times of responses to one name. Its owner's lock guards it
// until done is closed.
type meter struct {
	name     string
	expected int // responses

	count       int
	first, last int64
	sent        int64   // when the answer to the last one was sent
	trips       []int64 // from an answer to the next response
	err         error
	done        chan struct{}
}

func newMeter(name string, expected int) *meter {
	return &meter{name: name, expected: expected, trips: make([]int64, 0, expected), done: make(chan struct{})}
}

// of tells whether a response is one of those that are measured.
func (m *meter) of(r *discoveryv3.DeltaDiscoveryResponse) bool {
	resources := r.GetResources()
	return r.GetTypeUrl() == consulend.MeasureType && len(resources) == 1 && resources[0].GetName() == m.name
}

// note counts a response and tells whether it was the last one.
func (m *meter) note(now int64) bool {
	if m.count == 0 {
		m.first = now
	} else {
		m.trips = append(m.trips, now-m.sent)
	}
	m.count++
	m.last = now
	if m.count == m.expected {
		m.end(nil)
		return true
	}
	return false
}

func (m *meter) end(err error) {
	m.err = err
	close(m.done)
}

// measure subscribes to a name and waits for so many responses.
func (c *client) measure(ctx context.Context, name string, expected int) (*meter, error) {
	m := newMeter(name, expected)
	if err := c.begin(ctx, m); err != nil {
		return nil, err
	}
	select {
	case <-m.done:
		return m, m.err
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.meter == m {
			c.meter = nil
		}
		return nil, fmt.Errorf("%d of %d responses came: %w", m.count, expected, ctx.Err())
	}
}

// begin sends the subscription as soon as there is a stream.
func (c *client) begin(ctx context.Context, m *meter) error {
	for {
		c.mu.Lock()
		if c.stream != nil {
			c.meter = m
			err := c.stream.Send(&discoveryv3.DeltaDiscoveryRequest{
				Node: c.target.node, TypeUrl: consulend.MeasureType, ResourceNamesSubscribe: []string{m.name},
			})
			c.mu.Unlock()
			return err
		}
		changed := c.changed
		c.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("there is no stream: %w", ctx.Err())
		}
	}
}

// throughput gives how long count responses of size bytes take, after a first
// one, in nanoseconds.
func (c *client) throughput(ctx context.Context, count, size int) (int64, error) {
	m, err := c.measure(ctx, consulend.Push(count+1, size, unique()), count+1)
	if err != nil {
		return 0, err
	}
	return m.last - m.first, nil
}

// roundTrips gives how long it takes from an answer to the next response of size
// bytes, count times, in nanoseconds.
func (c *client) roundTrips(ctx context.Context, count, size int) ([]int64, error) {
	m, err := c.measure(ctx, consulend.Echo(size, unique()), count+1)
	if err != nil {
		return nil, err
	}
	return m.trips, nil
}

// unique makes the names of each measurement its own: what a proxy has seen
// before, it may give by itself.
func unique() int { return int(control.Now()) }
