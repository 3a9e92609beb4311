// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// tuning holds the times by which a session works. Tests shorten them.
type tuning struct {
	// retryFirst and retryLimit bound the delay between attempts at servers.
	// The limit is low, so that a mesh is whole again within seconds of its
	// servers' return; what it costs them is a refused connection now and then.
	retryFirst, retryLimit time.Duration
	// crowdLimit takes the place of retryLimit where servers are at their limits,
	// so that proxies turned away do not come back in a storm.
	crowdLimit time.Duration
	// retryReset is how long a server must have been in use for the next loss
	// to start over with retryFirst; crowdReset, where it was left for its limits.
	retryReset, crowdReset time.Duration
	// loginLimit bounds the delay between logins.
	loginLimit time.Duration
	// settle is the age below which an unknown token from a login may yet
	// become known, by replication.
	settle time.Duration
	// confirm is how many refusals in a row, by servers that are tried, make a
	// token from a login a lost one. A server that has just started knows those
	// tokens only once it has caught up with the others.
	confirm int
	// probeInterval and probeTimeout are those of the question to the server in
	// use; a server that stays silent is left after an interval, a fifth more,
	// and two timeouts.
	probeInterval, probeTimeout time.Duration
	// unwatchedInterval takes the place of probeInterval without a server watch,
	// whose end is what tells of a lost token first.
	unwatchedInterval time.Duration
	// probeFloor is the least time between two such questions.
	probeFloor time.Duration
	// stallFirst is how long an attempt at a server may take before another
	// one is made; it doubles with each, up to stallLimit.
	stallFirst, stallLimit time.Duration
	// turn is how long a link may take where there is another choice to be tried.
	turn time.Duration
	// serverTimeout bounds what is tried at one server during login and logout.
	// endGrace is what is left of that when the session ends meanwhile.
	serverTimeout, endGrace time.Duration
	// logoutTimeout bounds a logout at all servers together. endTimeout is what is
	// left of that when the session ends: Envoy is gone by then, and within a
	// second of that the process must be, too, before the kubelet kills it. A
	// server that is well takes some 10 ms; at the others, the token stays until
	// it expires.
	logoutTimeout, endTimeout time.Duration
	// linger is how long streams of the last epoch live on, so that their users
	// can open new ones first.
	linger time.Duration
	// repeat is the interval at which a log line about a wait is repeated.
	repeat time.Duration
	// filePoll is how often files are looked at where no event tells of them.
	filePoll, fileSettle time.Duration
	// deniedFirst and deniedLimit bound the delay between logins for permissions
	// that were lost: it is likelier that they were taken away for good.
	deniedFirst, deniedLimit time.Duration
	// refusalGrace is how long refusals of a question are retried, as a token and
	// its policy may have to reach the server yet.
	refusalGrace time.Duration
}

func defaultTuning() tuning {
	return tuning{
		retryFirst: 100 * time.Millisecond, retryLimit: 1500 * time.Millisecond, crowdLimit: 15 * time.Second,
		retryReset: 250 * time.Millisecond, crowdReset: 10 * time.Second,
		loginLimit: 3 * time.Second, settle: 2 * time.Second, confirm: 3,
		probeInterval: 5 * time.Second, unwatchedInterval: 3 * time.Second, probeTimeout: 3 * time.Second, probeFloor: 100 * time.Millisecond,
		stallFirst: 4 * time.Second, stallLimit: 30 * time.Second,
		turn:          4 * time.Second,
		serverTimeout: 3 * time.Second, endGrace: 300 * time.Millisecond,
		logoutTimeout: 5 * time.Second, endTimeout: 700 * time.Millisecond,
		linger: time.Second, repeat: 30 * time.Second,
		filePoll: 10 * time.Second, fileSettle: 200 * time.Millisecond,
		deniedFirst: 5 * time.Second, deniedLimit: 5 * time.Minute,
		refusalGrace: 2 * time.Second,
	}
}

var errNoSession = status.Error(codes.Unavailable, "no session with a Consul server")

// Session is a lasting relation with whichever Consul server is well. Its
// methods are safe for concurrent use.
type Session struct {
	cfg     Config
	log     hclog.Logger
	metrics *metrics
	tune    tuning
	start   material
	secrets secrets

	started  atomic.Bool
	ready    chan struct{}
	stopping chan struct{}
	lingers  sync.WaitGroup
	// renew and leaveNow hold at most one pending request each.
	renew    chan string
	leaveNow chan string

	mu          sync.Mutex
	status      Status
	current     *link
	epoch       *epoch
	subscribers map[chan struct{}]struct{}
	notices     limiter
	stall       backoff
	tolerant    bool      // see Tolerate
	wasServed   bool      // a stream has brought something: its permissions were enough
	denials     backoff   // of logins for permissions that were lost
	deniedUntil time.Time // no such login before
}

// New validates the configuration and reads the files that it names; its error
// tells all that is wrong with either. Nothing runs until Run.
func New(cfg Config, log hclog.Logger) (*Session, error) {
	if log == nil {
		log = hclog.NewNullLogger()
	}
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("settings of the Consul servers: %w", err)
	}
	tune := defaultTuning()
	s := &Session{
		cfg:         cfg,
		log:         log,
		tune:        tune,
		ready:       make(chan struct{}),
		stopping:    make(chan struct{}),
		renew:       make(chan string, 1),
		leaveNow:    make(chan string, 1),
		subscribers: make(map[chan struct{}]struct{}),
		stall:       backoff{first: tune.stallFirst, limit: tune.stallLimit},
		denials:     backoff{first: tune.deniedFirst, limit: tune.deniedLimit},
		status:      Status{Since: time.Now(), Waiting: "the session to be started"},
	}
	var err error
	if s.start, err = loadMaterial(cfg); err != nil {
		return nil, fmt.Errorf("settings of the Consul servers: %w", err)
	}
	s.secrets.learnFrom(s.start)
	if s.metrics, err = newMetrics(cfg.Registerer, cfg.Logins); err != nil {
		return nil, fmt.Errorf("metrics of the Consul servers: %w", err)
	}
	return s, nil
}

// Conn is the connection to whichever server is in use. It can be had before
// Run and stays the same. Each call and each stream goes to the server of the
// moment with the token of the moment, in place of any in the caller's metadata.
// Streams are ended with Unavailable, a second after the session has moved to
// another server or token; Changes tells at once. While there is no server,
// calls and streams fail with Unavailable.
func (s *Session) Conn() grpc.ClientConnInterface { return conn{s} }

// Ready is closed once the session has been established for the first time.
func (s *Session) Ready() <-chan struct{} { return s.ready }

// WaitReady blocks until Ready. Its error is the context's, together with what
// the session was waiting for.
func (s *Session) WaitReady(ctx context.Context) error {
	select {
	case <-s.ready:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for %s: %w", s.Status().Waiting, ctx.Err())
	}
}

// Status is the state of the session at this moment.
func (s *Session) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if st.Refused != nil {
		refused := *st.Refused
		st.Refused = &refused
	}
	return st
}

// Changes subscribes to changes of Status that matter to holders of streams:
// another server, another token, connected or not. The channel holds one
// pending signal, so that none is lost: read Status after each. The function
// ends the subscription.
func (s *Session) Changes() (<-chan struct{}, func()) {
	ch := make(chan struct{}, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.subscribers[ch] = struct{}{}
	return ch, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.subscribers, ch)
	}
}

// notifyLocked signals all subscribers.
func (s *Session) notifyLocked() {
	for ch := range s.subscribers {
		poke(ch)
	}
}

// Tolerate makes refusals of the credentials never end Run from now on. It is
// for a user with something to lose already, although no server has been reached
// yet: a pod that runs by what an earlier process left it.
func (s *Session) Tolerate() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tolerant = true
}

// SwitchServer asks to leave the server in use for another one, if there is
// another; the reason is logged. It does not wait.
func (s *Session) SwitchServer(reason string) { request(s.leaveNow, reason) }

// RenewToken asks for a fresh login, because the token in use does not allow
// what it used to; the reason is logged. It does not wait. It does nothing when
// the token was not obtained by login.
func (s *Session) RenewToken(reason string) { request(s.renew, reason) }

func request(ch chan string, reason string) {
	select {
	case ch <- reason:
	default: // the one that is pending does for both
	}
}

// usable is the epoch of the moment, or why there is none. A server that was
// lost is not asked any more: gRPC would dial it again for that, fail, and
// answer the first question to the next server with that failure.
func (s *Session) usable() (*epoch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.epoch == nil || !s.epoch.link.connected {
		return nil, errNoSession
	}
	return s.epoch, nil
}

// errRunTwice: a Session is for one Run.
var errRunTwice = errors.New("a session runs only once")
