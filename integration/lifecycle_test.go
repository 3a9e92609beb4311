// SPDX-License-Identifier: MPL-2.0

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"podplane/integration/consultest"
	"podplane/integration/mesh"
	"podplane/lifecycle"
)

// TestLifecycle is the pod's life from its first to its last second. The tests
// share one cluster, and "backend", the service that the others call.
func TestLifecycle(t *testing.T) {
	t.Parallel()
	m := newMesh(t, consultest.Options{TLS: true, JWT: true})
	ctx := bounded(t)
	arrived := make(chan string, 100)
	must(t,
		m.Consul.Client().SetProxyDefaults(ctx, map[string]any{"protocol": "http"}),
		m.Consul.Client().SetIntention(ctx, "*", "*", consultest.Allow))
	backend, err := m.Start(ctx, mesh.PodSpec{Name: "backend", Handler: slowly("backend", arrived)})
	must(t, err, backend.WaitReady(ctx))
	for name, test := range map[string]func(*testing.T, *mesh.Mesh){
		"job, idle":                   testIdleJob,
		"job, request in flight":      testBusyJob(arrived),
		"many requests, one shutdown": testOneShutdown,
		"drain by signal":             testDrain,
		"envoy does not end":          testStubbornEnvoy,
		"envoy crashes":               testCrashes,
		"signal during the start":     testSignalDuringTheStart,
		"podplane is killed":          testKilled,
		"rejected configuration":      testRejectedConfiguration,
		"status":                      testStatus,
		"commands":                    testCommands,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, m)
		})
	}
}

// slowly is an application that takes as long as ?for= says and tells when a
// request has arrived.
func slowly(name string, arrived chan<- string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if d, err := time.ParseDuration(r.URL.Query().Get("for")); err == nil {
			select {
			case arrived <- r.URL.Path:
			default:
			}
			select {
			case <-time.After(d):
			case <-r.Context().Done():
				return
			}
		}
		_, _ = fmt.Fprintf(w, "%s, %s\n", mesh.Greeting(name), r.URL.Path)
	})
}

// grace gives the arguments for a grace period.
func grace(d time.Duration, more ...string) []string {
	return append([]string{"-shutdown-grace-period-seconds", strconv.Itoa(int(d.Seconds()))}, more...)
}

// startReady starts a pod of this name that calls the backend.
func startReady(ctx context.Context, t *testing.T, m *mesh.Mesh, spec mesh.PodSpec) *mesh.Pod {
	t.Helper()
	spec.Upstreams = append(spec.Upstreams, "backend")
	pod, err := m.Start(ctx, spec)
	must(t, err, pod.WaitReady(ctx))
	expectAnswer(ctx, t, pod, "backend")
	return pod
}

// askToEnd is what the container of a Job does last.
func askToEnd(ctx context.Context, t *testing.T, pod *mesh.Pod) lifecycle.Shutdown {
	t.Helper()
	answer, err := mesh.Post(ctx, "http://"+pod.Lifecycle+"/graceful_shutdown")
	must(t, err)
	var state lifecycle.Shutdown
	must(t, json.Unmarshal([]byte(answer.Body), &state))
	if answer.Status != http.StatusOK {
		t.Errorf("/graceful_shutdown answers %v", answer)
	}
	return state
}

// expectEnd waits for a clean end of the dataplane and of its Envoy, and checks
// that it came between two times after began.
func expectEnd(t *testing.T, pod *mesh.Pod, envoy int, began time.Time, from, to time.Duration) {
	t.Helper()
	expectExit(t, pod, 0)
	took := time.Since(began).Round(time.Millisecond)
	t.Logf("%s was gone after %s", pod.Service.Name, took)
	if took < from || late(t, took, to) {
		t.Errorf("%s was gone after %s, not between %s and %s", pod.Service.Name, took, from, to)
	}
	expectNoProcess(t, envoy)
}

// expectNoProcess checks that a process is not there, or a zombie that nobody
// reaps any more.
func expectNoProcess(t *testing.T, pid int) {
	t.Helper()
	if pid <= 0 {
		t.Errorf("%d is no process ID", pid)
		return
	}
	if stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat"); err == nil {
		if _, rest, _ := strings.Cut(string(stat), ") "); !strings.HasPrefix(rest, "Z") {
			t.Errorf("process %d is still there: %s", pid, stat)
		}
	}
}

func testIdleJob(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod := startReady(ctx, t, m, mesh.PodSpec{Name: "job-idle", Args: grace(30 * time.Second)})
	envoy := pod.EnvoyPID(ctx)
	began := time.Now()
	if state := askToEnd(ctx, t, pod); !state.WhenIdle || state.State == lifecycle.Running || state.Reason != "http: POST /graceful_shutdown" ||
		time.Until(state.Deadline) < 25*time.Second || state.ActiveConnections == nil || *state.ActiveConnections != 0 {
		t.Errorf("the shutdown is %+v", state)
	}
	expectEnd(t, pod, envoy, began, 0, 500*time.Millisecond)
}

// testBusyJob has a request of three seconds in flight when the Job ends, of its
// own and of somebody else's.
func testBusyJob(arrived <-chan string) func(*testing.T, *mesh.Mesh) {
	return func(t *testing.T, m *mesh.Mesh) {
		t.Helper()
		busyJob(t, m, arrived)
	}
}

func busyJob(t *testing.T, m *mesh.Mesh, arrived <-chan string) {
	t.Helper()
	ctx := bounded(t)
	inbound := make(chan string, 1)
	pod := startReady(ctx, t, m, mesh.PodSpec{
		Name: "job-busy", Args: grace(30*time.Second, "-shutdown-drain-listeners"), Handler: slowly("job-busy", inbound),
	})
	caller := startReady(ctx, t, m, mesh.PodSpec{Name: "caller", Upstreams: []string{"job-busy"}})
	expectAnswer(ctx, t, caller, "job-busy")
	envoy := pod.EnvoyPID(ctx)
	type result struct {
		answer mesh.Answer
		err    error
		at     time.Time
	}
	call := func(from *mesh.Pod, to string) <-chan result {
		results := make(chan result, 1)
		go func() {
			answer, err := from.Call(ctx, to, "/slow?for=3s")
			results <- result{answer, err, time.Now()}
		}()
		return results
	}
	outgoing := call(pod, "backend")
	<-arrived
	incoming := call(caller, "job-busy")
	<-inbound
	if state := askToEnd(ctx, t, pod); state.ActiveConnections == nil || *state.ActiveConnections < 2 {
		t.Errorf("the shutdown is %+v", state)
	}
	var last time.Time
	for to, results := range map[string]<-chan result{"backend": outgoing, "job-busy": incoming} {
		got := <-results
		if got.err != nil || got.answer.Status != http.StatusOK || got.answer.Body != mesh.Greeting(to)+", /slow" {
			t.Errorf("the request to %s: %v, %v", to, got.answer, got.err)
		}
		if got.at.After(last) {
			last = got.at
		}
	}
	expectEnd(t, pod, envoy, last, 0, 500*time.Millisecond)
}

// testOneShutdown asks a hundred times at once.
func testOneShutdown(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	ctx := bounded(t)
	pod := startReady(ctx, t, m, mesh.PodSpec{Name: "asked-often", Args: grace(2*time.Second, "-shutdown-when-idle", "never")})
	envoy := pod.EnvoyPID(ctx)
	began := time.Now()
	var all sync.WaitGroup
	since := make([]time.Time, 100)
	for i := range since {
		all.Go(func() { since[i] = askToEnd(ctx, t, pod).Since })
	}
	all.Wait()
	for _, one := range since {
		if one.IsZero() || !one.Equal(since[0]) {
			t.Errorf("a shutdown since %s and one since %s", since[0], one)
		}
	}
	expectEnd(t, pod, envoy, began, 2*time.Second, 4*time.Second)
	if n := strings.Count(pod.Output(), "shutdown begins"); n != 1 {
		t.Errorf("%d shutdowns", n)
	}
}

// testDrain sends SIGTERM: inbound is refused when the mesh has had time to learn
// of it, outbound works to the end.
func testDrain(t *testing.T, m *mesh.Mesh) {
	t.Helper()
	const period = 5 * time.Second
	ctx := bounded(t)
	pod := startReady(ctx, t, m, mesh.PodSpec{Name: "drained", Args: grace(period, "-shutdown-drain-listeners")})
	envoy := pod.EnvoyPID(ctx)
	public := net.JoinHostPort("127.0.0.1", strconv.Itoa(pod.Service.ProxyPort))
	connect := func() error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", public)
		if err == nil {
			err = conn.Close()
		}
		return err
	}
	must(t, connect())

	began := time.Now()
	must(t, pod.Dataplane().Signal(syscall.SIGTERM))
	var refused time.Duration
	calls := 0
	for pod.Dataplane().Running() {
		asked := time.Since(began)
		switch err := connect(); {
		case errors.Is(err, syscall.ECONNREFUSED) && refused == 0:
			refused = asked
		case err == nil && refused != 0:
			t.Errorf("inbound is accepted after %s, and was refused after %s", asked, refused)
		}
		if asked > period-100*time.Millisecond {
			break // this one could last longer than Envoy does
		}
		if answer, err := pod.Call(ctx, "backend", "/"); err != nil || answer.Status != http.StatusOK {
			t.Fatalf("outbound fails after %s: %v, %v", asked, answer, err)
		}
		calls++
	}
	t.Logf("inbound was refused after %s, %d calls outbound", refused, calls)
	if refused < period/4 || late(t, refused-period/4, 500*time.Millisecond) {
		t.Errorf("inbound was refused after %s, not after a quarter of %s", refused, period)
	}
	expectEnd(t, pod, envoy, began, period, period+time.Second)
}
