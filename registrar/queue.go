// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"sync"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// queue is the controller's.
type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// newQueue makes a queue of pods in which those that a sweep found wait for those of which something changed.
//
// It is not controller-runtime's own: up to 0.24 that one may stop for good when it is shut down while there is work, and
// the end of the process with it (https://github.com/kubernetes-sigs/controller-runtime/issues/3538).
func newQueue(name string, limiter workqueue.TypedRateLimiter[reconcile.Request]) queue {
	l := &lanes{low: map[reconcile.Request]bool{}, pressing: map[reconcile.Request]bool{}, where: map[reconcile.Request]*lane{}}
	plain := workqueue.NewTypedWithConfig(workqueue.TypedQueueConfig[reconcile.Request]{Name: name, Queue: l})
	delaying := workqueue.NewTypedDelayingQueueWithConfig(workqueue.TypedDelayingQueueConfig[reconcile.Request]{Name: name, Queue: plain})
	limited := workqueue.NewTypedRateLimitingQueueWithConfig(limiter, workqueue.TypedRateLimitingQueueConfig[reconcile.Request]{
		Name: name, DelayingQueue: delaying,
	})
	return &patientQueue{queue: limited, lanes: l}
}

// patientQueue is a queue with a way in for what is not urgent.
type patientQueue struct {
	queue
	lanes *lanes
}

// Add adds something that changed.
func (q *patientQueue) Add(item reconcile.Request) {
	q.lanes.press(item)
	q.queue.Add(item)
}

// addLater adds what waits for everything else.
func (q *patientQueue) addLater(item reconcile.Request) {
	q.lanes.mark(item)
	q.queue.Add(item)
}

// enqueueLater adds what is not urgent: it waits for what changed.
func enqueueLater(q queue, request reconcile.Request) {
	if patient, ok := q.(*patientQueue); ok {
		patient.addLater(request)
		return
	}
	q.Add(request)
}

// lane is a list of items. Those that left it for the other one are still in it.
type lane struct{ items []reconcile.Request }

// lanes are what the queue holds: [workqueue.Queue], which is called with a lock held, but for press and mark.
type lanes struct {
	urgent, later lane

	mu    sync.Mutex
	low   map[reconcile.Request]bool  // of the next time that it comes
	where map[reconcile.Request]*lane // of what is waiting
	// pressing is what changed since it was last taken. What is worked on when it changes comes only afterwards, and a sweep
	// in between must not have it wait.
	pressing map[reconcile.Request]bool
}

// press keeps an item from being marked until it is taken.
func (l *lanes) press(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pressing[item] = true
	delete(l.low, item)
}

// mark has an item wait with those that are not urgent when it comes next.
func (l *lanes) mark(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.pressing[item] {
		l.low[item] = true
	}
}

// Push implements [workqueue.Queue].
func (l *lanes) Push(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	to := &l.urgent
	if l.low[item] {
		to = &l.later
	}
	delete(l.low, item)
	l.put(item, to)
}

// Touch implements [workqueue.Queue]: what became urgent goes over to the others.
func (l *lanes) Touch(item reconcile.Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.low[item] && l.where[item] == &l.later {
		l.put(item, &l.urgent)
	}
	delete(l.low, item)
}

func (l *lanes) put(item reconcile.Request, to *lane) {
	to.items = append(to.items, item)
	l.where[item] = to
}

// Len implements [workqueue.Queue].
func (l *lanes) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.where)
}

// Pop implements [workqueue.Queue]. It is called only if there is something.
func (l *lanes) Pop() reconcile.Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, from := range []*lane{&l.urgent, &l.later} {
		for len(from.items) > 0 {
			item := from.items[0]
			from.items[0] = reconcile.Request{}
			from.items = from.items[1:]
			if l.where[item] == from {
				delete(l.where, item)
				delete(l.pressing, item)
				return item
			}
		}
	}
	panic("registrar: nothing is in the queue")
}
