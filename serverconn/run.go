// SPDX-License-Identifier: MPL-2.0

package serverconn

import (
	"context"
	"time"
)

// run is the state of one Run: the link in use, and the attempt at its
// successor. It is used by Run's goroutine alone.
type run struct {
	*Session
	material material // what the files hold; it may load and yet not work
	current  *link    // nil until the first attempt succeeds
	attempt  *attempt // nil while there is nothing to be changed
	stuck    bool     // current was found stuck: it will not come back by itself
	lost     bool     // current's token was lost: only a login helps
	logins   backoff
}

// Run keeps the session up until the context ends, and then gives nil. It
// retries for ever, except as Config.MaxRefusals and Tolerate say; that error is a
// RefusedError. Before it returns, it logs out, for which it takes 700 ms
// where no server answers.
func (s *Session) Run(ctx context.Context) error {
	if !s.started.CompareAndSwap(false, true) {
		return errRunTwice
	}
	r := &run{Session: s, material: s.start, logins: backoff{first: s.tune.retryFirst, limit: s.tune.loginLimit}}
	changed := make(chan struct{}, 1)
	watchCtx, stopWatching := context.WithCancel(ctx)
	s.lingers.Go(func() { s.watchFiles(watchCtx, s.cfg.files(), changed) })
	defer r.end(ctx)
	defer stopWatching()

	r.try(ctx, r.newest(), "a Consul server at "+s.cfg.serverSource())
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.attempt.finished():
			if err := r.attempt.err; err != nil {
				r.attempt = nil
				return ctxOr(ctx, err)
			}
			r.promote(ctx)
		case v := <-r.current.judged():
			r.replace(ctx, v)
		case <-changed:
			r.reload(ctx)
		case reason := <-s.renew:
			r.renewToken(ctx, reason)
		case reason := <-s.leaveNow:
			if r.current != nil && s.isConnected(r.current) {
				s.leaveServer(ctx, r.current, reason)
			}
		}
	}
}

// ctxOr gives nil when err is due to the end of ctx.
func ctxOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// newest is the token to be used by what is known now, or nil when a login has
// to give it.
func (r *run) newest() *token {
	switch {
	case r.cfg.Credentials.Type != CredentialLogin:
		return &r.material.static
	case r.current != nil:
		return &r.current.token
	}
	return nil
}

// choices are what an attempt may use, t being nil for a login. What is new is
// not proven, so that it has to share with what is in use now, unless that serves
// the session meanwhile.
func (r *run) choices(t *token) []choice {
	fresh := choice{security: r.material.security}
	if t != nil {
		fresh.token = *t
	}
	if r.current == nil || t != nil && !r.stuck {
		return []choice{fresh}
	}
	proven := choice{r.current.security, r.current.token}
	if fresh.security.print == proven.security.print && (t == nil || fresh.token.secret == proven.token.secret) {
		return []choice{fresh}
	}
	return []choice{proven, fresh}
}

// try starts an attempt at a link with the token, or with one from a login when
// it is nil. An attempt under way is given up for it.
func (r *run) try(ctx context.Context, t *token, waitingFor string) {
	r.attempt.abort(ctx)
	r.mu.Lock()
	if r.current == nil || !r.current.connected {
		r.status.Waiting = waitingFor
	}
	r.mu.Unlock()
	r.attempt = r.startAttempt(ctx, r.choices(t), t == nil, r.pauseBeforeLogin(t))
}

// pauseBeforeLogin keeps logins apart when the tokens that they give do not
// last, and pods apart when the tokens of all of them were lost at once.
func (r *run) pauseBeforeLogin(t *token) time.Duration {
	if t != nil || r.current == nil {
		return 0
	}
	if time.Since(r.current.token.since) > 10*r.tune.settle {
		r.logins.reset()
	}
	return r.logins.delay()
}

// replace starts what the verdict on the current link asks for.
func (r *run) replace(ctx context.Context, v verdict) {
	login := r.attempt != nil && r.attempt.loggingIn
	switch {
	case v == tokenLost && login:
		r.lost = true
	case v == tokenLost:
		r.lost = true
		r.log.Warn("the token is lost, logging in anew", "accessor", r.current.token.accessor, "error", r.Status().LastError)
		r.try(ctx, nil, "a new token")
	case v == stuck:
		// An attempt under way goes on if it can do with what is proven: one that
		// tries only what is new cannot, nor a login that is merely wished for.
		r.stuck = true
		if !r.lost && (r.attempt == nil || login || len(r.choices(r.newest())) > len(r.attempt.choices)) {
			r.try(ctx, r.newest(), "a Consul server at "+r.cfg.serverSource())
		}
	}
	// refusedForGood is never said of a link that was in use.
}

func (r *run) renewToken(ctx context.Context, reason string) {
	if r.cfg.Credentials.Type != CredentialLogin || r.current == nil {
		return
	}
	if r.attempt != nil && (r.attempt.loggingIn || r.stuck) {
		return // a link is being made that the session needs first
	}
	r.log.Warn("logging in anew", "reason", reason)
	r.try(ctx, nil, "a new token")
}

// reload takes changed files into use. A file that does not load changes
// nothing.
func (r *run) reload(ctx context.Context) {
	changed, err := r.material.reload(r.cfg)
	r.secrets.learnFrom(r.material)
	text := ""
	if err != nil {
		text = r.redact(err.Error())
	}
	r.mu.Lock()
	news := text != r.status.ReloadError
	r.status.ReloadError = text
	r.mu.Unlock()
	if err != nil && news {
		r.metrics.reloads.WithLabelValues("failure").Inc()
		r.log.Error("changed files are not usable, going on with the old ones", "error", text)
	}
	if !changed.any() {
		return
	}
	r.metrics.reloads.WithLabelValues("success").Inc()
	r.log.Info("files have changed", "tls", changed.security, "static_token", changed.static, "bearer_token", changed.bearer)
	switch {
	case changed.static:
		r.try(ctx, r.newest(), "the new token to be accepted")
	case changed.security && r.current == nil:
		r.try(ctx, r.newest(), "a Consul server at "+r.cfg.serverSource())
	case changed.security && r.attempt != nil && r.attempt.loggingIn:
		r.try(ctx, nil, "a new token")
	case changed.security:
		r.try(ctx, r.newest(), "the new TLS files to be accepted")
	default:
		// A bearer token matters at the next login, which may be being tried.
		r.attempt.hurry()
	}
}

// promote takes the attempt's link into use and retires the one before.
func (r *run) promote(ctx context.Context) {
	old, l := r.current, r.attempt.link
	r.current, r.attempt, r.stuck, r.lost = l, nil, false, false
	r.mu.Lock()
	last := r.epoch
	if old != nil {
		old.quiet = true
	}
	r.Session.current = l
	r.beginEpochLocked(l)
	if !l.connected { // lost again since; its epoch ends with the next
		r.status.Connected = false
		r.metrics.connected.Set(0)
	}
	r.mu.Unlock()
	select {
	case <-r.ready:
	default:
		close(r.ready)
	}
	r.tryNewest(ctx)
	if old == nil {
		return
	}
	r.lingers.Go(func() {
		r.linger()
		last.end()
		if old.token.secret != l.token.secret {
			r.logout(ctx, l.security, old.token)
		}
		old.close()
	})
}

// tryNewest goes on with what is new, if the link that has just come into use
// was made without it.
func (r *run) tryNewest(ctx context.Context) {
	t := r.newest()
	if r.material.security.print != r.current.security.print || t.secret != r.current.token.secret {
		r.try(ctx, t, "the new files to be accepted")
	}
}

// end logs out and waits until nothing is left running.
func (r *run) end(ctx context.Context) {
	ctx, cancel := context.WithCancel(ctx)
	cancel() // it may be an error that ends the session: the logouts must hurry all the same
	close(r.stopping)
	r.lingers.Go(func() { r.attempt.abort(ctx) }) // its logout, if any, beside the one below
	if r.current != nil {
		r.logout(ctx, r.current.security, r.current.token)
	}
	r.mu.Lock()
	last := r.epoch
	r.epoch, r.Session.current = nil, nil
	r.status.Connected, r.status.Since, r.status.Waiting = false, time.Now(), ""
	r.metrics.connected.Set(0)
	r.notifyLocked()
	r.mu.Unlock()
	if last != nil {
		last.end()
	}
	if r.current != nil {
		r.current.close()
	}
	r.lingers.Wait()
}
