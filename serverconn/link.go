// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/consul-server-connection-manager/discovery"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
)

// featureBootstrap is what a server must offer to be of use to a dataplane.
const featureBootstrap = "DATAPLANE_FEATURES_ENVOY_BOOTSTRAP_CONFIGURATION"

// verdict is why a link has to be replaced.
type verdict int

const (
	// tokenLost: the servers no longer know the token, which was obtained by
	// login or will not be accepted for another reason that a login heals.
	tokenLost verdict = iota + 1
	// stuck: no connection, and the connection manager will not notice for long.
	stuck
	// refusedForGood: Config.MaxRefusals is reached.
	refusedForGood
)

// link is one token and TLS setting with the Watcher that uses them.
type link struct {
	session  *Session
	security security
	token    token
	watcher  *discovery.Watcher
	// established is closed when a server accepted the link for the first time.
	established chan struct{}
	// verdicts holds at most one pending verdict.
	verdicts chan verdict
	// kick asks for a check of the server at once.
	kick chan struct{}

	// These are used by the connection manager's goroutine alone. lost tells that
	// its last failure was the loss of a server in use; for spoilt, see trying.
	retry        backoff
	lost, spoilt bool

	closing    chan struct{}
	stopGuards context.CancelFunc
	running    sync.WaitGroup

	// Guarded by session.mu:
	connected   bool
	since       time.Time // of connected
	server      string
	conn        *grpc.ClientConn
	tryingSince time.Time // of the attempt under way; zero when there is none
	quiet       bool      // its troubles matter no more, a successor is under way
	refusals    int       // of its token, in a row, by servers that were tried
}

// openLink starts a link. It outlives ctx, so that there is still a connection
// to log out over when ctx has ended; close ends it.
func (s *Session) openLink(ctx context.Context, sec security, t token) (*link, error) {
	ctx = context.WithoutCancel(ctx)
	l := &link{
		session:     s,
		security:    sec,
		token:       t,
		established: make(chan struct{}),
		verdicts:    make(chan verdict, 1),
		kick:        make(chan struct{}, 1),
		closing:     make(chan struct{}),
		retry:       backoff{first: s.tune.retryFirst},
	}
	config := discovery.Config{
		Addresses:           s.cfg.Addresses,
		GRPCPort:            s.cfg.GRPCPort,
		ServerWatchDisabled: s.cfg.ServerWatchDisabled,
		ServerEvalFn:        l.up,
		TLS:                 sec.config,
		BackOff: discovery.BackOffConfig{
			InitialInterval: time.Millisecond, // see failed
			ResetInterval:   time.Nanosecond,
		},
	}
	if t.secret != "" {
		config.Credentials = discovery.Credentials{
			Type:   discovery.CredentialsTypeStatic,
			Static: discovery.StaticTokenCredential{Token: t.secret},
		}
	}
	var err error
	if l.watcher, err = discovery.NewWatcher(ctx, config, newWatcherLog(s.log, l)); err != nil {
		return nil, fmt.Errorf("set up connection: %w", err)
	}
	ctx, l.stopGuards = context.WithCancel(ctx)
	l.running.Go(l.watcher.Run)
	l.running.Go(func() { l.guard(ctx) })
	if s.cfg.ServerWatchDisabled {
		l.running.Go(func() { l.watchConnection(ctx) })
	}
	return l, nil
}

// close ends the link and waits until nothing of it is left.
func (l *link) close() {
	close(l.closing)
	l.stopGuards()
	l.watcher.Stop()
	l.running.Wait()
}

// await blocks until the link is established, which gives zero, or has to be
// replaced, which it has after patience, too, unless that is zero.
func (l *link) await(ctx context.Context, patience time.Duration) (verdict, error) {
	var late <-chan time.Time
	if patience > 0 {
		timer := time.NewTimer(patience)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-l.established:
		return 0, nil
	case v := <-l.verdicts:
		return v, nil
	case <-late:
		return stuck, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

func (l *link) judge(v verdict) {
	select {
	case l.verdicts <- v:
	default: // one is enough: every verdict has the link replaced
	}
}

// up is called by the connection manager for every server that accepted the
// token. It returns whether the server is to be used.
func (l *link) up(state discovery.State) bool {
	l.spoilt = false // the server's answer was faster
	if !state.DataplaneFeatures[featureBootstrap] {
		return false // logged as a connection error at once
	}
	l.session.linkUp(l, state)
	return true
}

// trying is called by the connection manager, through its log, before it goes on
// to a server. The attempt is spoilt if a request came between the loss of the
// last server and the news of it: gRPC dialled that server for it, and gives the
// failure of that for an answer until another one is connected.
func (l *link) trying() {
	conn := l.session.connOf(l)
	l.spoilt = l.lost && conn != nil && conn.GetState() == connectivity.TransientFailure
	l.session.linkTrying(l)
}

// failed is called by the connection manager, through its log, when a server is
// lost or an attempt to use one came to nothing. It holds up the next attempt,
// except after a spoilt one, which tells nothing of the server that it was for;
// by its failure, the connection manager has made gRPC forget the last server.
//
// The connection manager has a backoff of its own, but that starts at 500 ms
// whatever it is told, and knows no difference between a server that is away
// and one that is crowded.
func (l *link) failed(err error) {
	spoilt := l.spoilt
	l.lost, l.spoilt = false, false
	if spoilt && grpcCode(err) == codes.Unavailable {
		l.session.log.Debug("the lost server was dialled once more, trying the others again", "error", l.session.words(err))
		return
	}
	usedFor := l.down(err)
	l.lost = usedFor > 0
	enough := l.session.tune.retryReset
	l.retry.limit = l.session.tune.retryLimit
	if kind := explain(err).kind; kind == kindCanceled || kind == kindRateLimited {
		// Canceled is how a server ends that was left, most often for a limit.
		enough, l.retry.limit = l.session.tune.crowdReset, l.session.tune.crowdLimit
	}
	if usedFor > enough {
		l.retry.reset()
	}
	timer := time.NewTimer(l.retry.delay())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.closing:
	}
}

// down records that the link has no server. It gives the time for which the
// last one was in use, zero if none was.
func (l *link) down(err error) time.Duration { return l.session.linkDown(l, err) }

// noticeRefusal has the token checked when a request of a user of the session
// was refused: an open stream may be the first to know.
func (l *link) noticeRefusal(err error) {
	if err != nil && isUnauthenticated(err) {
		poke(l.kick)
	}
}

// judged gives verdicts on the link; of no link, it is never readable.
func (l *link) judged() <-chan verdict {
	if l == nil {
		return nil
	}
	return l.verdicts
}
