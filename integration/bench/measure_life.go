// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"podplane/integration/bench/consulend"
	"podplane/integration/bench/control"
	"podplane/integration/bench/envoyend"
)

// ms is the time between two moments of control.Now.
func ms(from, to int64) float64 { return float64(to-from) / 1e6 }

func measureSize(_ context.Context, b binary, _ scale) (values, error) {
	return values{"binary_size": float64(b.bytes) / 1e6}, nil
}

func measureStart(ctx context.Context, b binary, _ scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	_, at, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	return values{"start_to_live": ms(s.began, at)}, nil
}

func measureIdle(ctx context.Context, b binary, sc scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	if _, _, err := s.live(ctx); err != nil {
		return nil, err
	}
	resident, err := s.restingMemory(ctx, sc.idle)
	return values{"idle_memory": resident}, err
}

// restingMemory is the resident memory after some rest.
func (s *site) restingMemory(ctx context.Context, rest time.Duration) (float64, error) {
	ctx, stop := whileRunning(ctx, s.dataplane)
	defer stop()
	timer := time.NewTimer(rest)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	}
	resident, _, err := memory(s.dataplane.PID())
	return resident, err
}

func measureJob(ctx context.Context, b binary, sc scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{args: []string{
		"-shutdown-drain-listeners", "-shutdown-grace-period-seconds", strconv.Itoa(sc.grace),
	}})
	if err != nil {
		return nil, err
	}
	defer s.close()
	if _, _, err := s.live(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(sc.grace)*time.Second+step)
	defer cancel()
	began := control.Now()
	if err := s.post(ctx, "/graceful_shutdown"); err != nil {
		return nil, err
	}
	select {
	case <-s.dataplane.Done():
	case <-ctx.Done():
		return nil, errors.New("it does not end")
	}
	ended := control.Now()
	if code := s.dataplane.ExitCode(); code != 0 {
		return nil, endedError(s.dataplane)
	}
	return values{"job_end": ms(began, ended)}, nil
}

// post asks the lifecycle server, again while it does not listen: it may come
// last.
func (s *site) post(ctx context.Context, path string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: step}
	var last error
	for {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.lifecycle+path, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(r)
		if err == nil {
			_, _ = io.Copy(io.Discard, response.Body)
			_ = response.Body.Close()
			if response.StatusCode != http.StatusOK {
				return fmt.Errorf("%s answers %s", path, response.Status)
			}
			return nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return err
		}
		last = err
		timer := time.NewTimer(time.Millisecond)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return last
		}
	}
}

func measureCrash(ctx context.Context, b binary, _ scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	took, err := s.crash(ctx)
	return values{"crash_to_live": took}, err
}

func measureCrashAlone(ctx context.Context, b binary, _ scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{})
	if err != nil {
		return nil, err
	}
	defer s.close()
	took, err := s.crash(ctx, s.servers...)
	return values{"crash_alone_to_live": took}, err
}

// crash kills Envoy when it is LIVE, after the servers named, and gives how long
// it took until another was LIVE, in milliseconds.
func (s *site) crash(ctx context.Context, before ...*consulServer) (float64, error) {
	envoy, _, err := s.live(ctx)
	if err != nil {
		return 0, err
	}
	// When this has come back, so have the answers to what made Envoy LIVE.
	load := envoyend.Load{Count: 1, Size: 1, Within: step}
	if err := s.call(ctx, envoy, envoyend.CommandRoundTrips, load, nil); err != nil {
		return 0, err
	}
	for _, server := range before {
		server.process.Kill()
	}
	began := control.Now()
	if err := syscall.Kill(envoy.Hello().PID, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("kill envoy: %w", err)
	}
	_, at, err := s.live(ctx)
	if err != nil {
		return 0, err
	}
	return ms(began, at), nil
}

// call is a command whose wait ends with the dataplane.
func (s *site) call(ctx context.Context, to *control.Peer, command string, args, reply any) error {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	ctx, stop := whileRunning(ctx, s.dataplane)
	defer stop()
	return to.Call(ctx, command, args, reply)
}

func measureLoss(ctx context.Context, b binary, _ scale) (values, error) {
	s, err := openSite(ctx, b, siteOptions{servers: 2})
	if err != nil {
		return nil, err
	}
	defer s.close()
	envoy, _, err := s.live(ctx)
	if err != nil {
		return nil, err
	}
	used, spare, err := s.inUse(ctx)
	if err != nil {
		return nil, err
	}
	news := consulend.Set{Name: "cluster-0", Version: "news"}
	if err := s.call(ctx, spare.peer, consulend.CommandSet, news, nil); err != nil {
		return nil, err
	}
	began := control.Now()
	used.process.Kill()
	var at int64
	expect := envoyend.Expect{Type: consulend.ClusterType, Name: news.Name, Version: news.Version, Within: step}
	if err := s.call(ctx, envoy, envoyend.CommandAwait, expect, &at); err != nil {
		return nil, err
	}
	return values{"loss_to_update": ms(began, at)}, nil
}

// inUse finds the server that has the proxy's stream, and another one.
func (s *site) inUse(ctx context.Context) (used, spare *consulServer, err error) {
	for _, server := range s.servers {
		var streams int
		if err := s.call(ctx, server.peer, consulend.CommandStreams, struct{}{}, &streams); err != nil {
			return nil, nil, err
		}
		if streams > 0 {
			used = server
		} else {
			spare = server
		}
	}
	if used == nil || spare == nil {
		return nil, nil, errors.New("the xds stream is not at one of the servers")
	}
	return used, spare, nil
}
