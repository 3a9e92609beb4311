// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// choice is a TLS setting and a token for a link. The token does not count where
// a login gives it.
type choice struct {
	security security
	token    token
}

// attempt makes a link, however long it takes, and tries its choices in turn.
// The link in use stays in use meanwhile.
type attempt struct {
	session *Session
	choices []choice // at least one
	next    int      // of choices
	// security is that of the choice that is being tried.
	security security
	// loggingIn tells that the attempt was started to log in.
	loggingIn bool
	cancel    context.CancelFunc
	wake      chan struct{}
	done      chan struct{}
	// Set before done is closed: one of the two.
	link *link
	err  error

	token token
	// own tells that token is from a login of this attempt.
	own   bool
	delay backoff
}

func (s *Session) startAttempt(ctx context.Context, choices []choice, login bool, after time.Duration) *attempt {
	ctx, cancel := context.WithCancel(ctx)
	a := &attempt{
		session:   s,
		choices:   choices,
		loggingIn: login,
		cancel:    cancel,
		wake:      make(chan struct{}, 1),
		done:      make(chan struct{}),
		delay:     backoff{first: s.tune.retryFirst, limit: s.tune.loginLimit},
	}
	a.choose()
	go func() {
		defer close(a.done)
		defer cancel()
		if a.err = pause(ctx, after, a.wake); a.err == nil {
			a.link, a.err = a.run(ctx)
		}
	}()
	return a
}

// choose takes the next choice. A token that the attempt has logged in for is as
// good with one TLS setting as with another.
func (a *attempt) choose() {
	c := a.choices[a.next%len(a.choices)]
	a.next++
	a.security = c.security
	if !a.own {
		a.token = c.token
	}
}

// patience is how long a link may take: for ever, where there is no choice.
func (a *attempt) patience() time.Duration {
	if len(a.choices) == 1 {
		return 0
	}
	return a.session.tune.turn
}

// finished is closed at the attempt's end; of no attempt, it is never readable.
func (a *attempt) finished() <-chan struct{} {
	if a == nil {
		return nil
	}
	return a.done
}

// hurry cuts short the delay before the next login.
func (a *attempt) hurry() {
	if a != nil {
		poke(a.wake)
	}
}

// abort gives the attempt up and waits until nothing of it is left.
func (a *attempt) abort(ctx context.Context) {
	if a == nil {
		return
	}
	a.cancel()
	<-a.done
	if a.link != nil { // it succeeded at the last moment
		a.discard(ctx, a.link)
	}
}

// discard closes a link that is not wanted any more, and destroys its token
// when the attempt made it, for which its logout takes longer than ctx.
func (a *attempt) discard(ctx context.Context, l *link) {
	if l != nil {
		l.close()
	}
	if a.own {
		a.session.logout(ctx, a.security, a.token)
		a.own = false
	}
}

func (a *attempt) run(ctx context.Context) (*link, error) {
	mustLogin := a.loggingIn
	for {
		if mustLogin && !a.own {
			if err := a.login(ctx); err != nil {
				return nil, err
			}
		}
		l, err := a.session.openLink(ctx, a.security, a.token)
		if err != nil {
			a.discard(ctx, nil)
			return nil, err
		}
		v, err := l.await(ctx, a.patience())
		switch {
		case err != nil:
			a.discard(ctx, l)
			return nil, err
		case v == 0:
			return l, nil
		case v == refusedForGood:
			l.close()
			return nil, a.session.refusal("use of the token")
		case v == tokenLost:
			a.discard(ctx, l)
			mustLogin = true
			if err := pause(ctx, a.delay.delay(), a.wake); err != nil {
				return nil, err
			}
		default:
			l.close()
			a.choose()
		}
	}
}

// login logs in, however often it takes, except as Config.MaxRefusals says.
func (a *attempt) login(ctx context.Context) error {
	s := a.session
	for {
		start := time.Now()
		t, err := s.login(ctx, a.security)
		if t.secret != "" {
			s.metrics.loggedIn(time.Since(start))
			s.log.Info("logged in", "auth_method", s.cfg.Credentials.Login.AuthMethod, "accessor", t.accessor)
			a.token, a.own = t, true
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		s.metrics.logins.WithLabelValues("failure").Inc()
		if isDefinite(err) && s.countRefusal(err) {
			return s.refusal("login at auth method " + s.cfg.Credentials.Login.AuthMethod)
		}
		a.choose()
		s.wait("a login at auth method "+s.cfg.Credentials.Login.AuthMethod, err)
		if err := pause(ctx, a.delay.delay(), a.wake); err != nil {
			return err
		}
	}
}

// refusal is the error for the refusals counted so far.
func (s *Session) refusal(operation string) error {
	st := s.Status()
	err := &RefusedError{Operation: operation, Code: codes.Unauthenticated}
	if st.Refused != nil {
		err.Message, err.Code = st.Refused.Message, st.Refused.code
	}
	return err
}
