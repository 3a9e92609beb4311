// SPDX-License-Identifier: MPL-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// apps are the programs of the images that examples use, as far as those use them.
func apps() map[string]func(ctx context.Context, args []string) int {
	return map[string]func(context.Context, []string) int{"http-echo": httpEcho, "curl": curl, "sleep": sleep}
}

const (
	serverTimeout = 10 * time.Second
	defaultAsk    = 30 * time.Second
)

// httpEcho answers every request with one text, as hashicorp/http-echo, and /metrics with a counter.
func httpEcho(ctx context.Context, args []string) int {
	flags := flag.NewFlagSet("http-echo", flag.ContinueOnError)
	text := flags.String("text", "hello world", "what to answer")
	listen := flags.String("listen", ":5678", "where to listen")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, *text) })
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "# TYPE app_text_bytes gauge\napp_text_bytes %d\n", len(*text))
	})
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: serverTimeout}
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	closed := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer closed()
	if err := server.ListenAndServe(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// curlOptions are those of curl's that examples use.
type curlOptions struct {
	method, url string
	fail        bool
	patience    time.Duration
	retries     int
	retryAll    bool
}

// curl takes a few of curl's options. Its exit codes are curl's: 7 for no connection, 22 for a status of 400 and above
// with --fail, 28 for a timeout.
func curl(ctx context.Context, args []string) int {
	o := curlOptions{method: http.MethodGet, patience: defaultAsk}
	for i := 0; i < len(args); i++ {
		value := func() string {
			if i++; i < len(args) {
				return args[i]
			}
			return ""
		}
		var err error
		switch arg := args[i]; {
		case arg == "-X":
			o.method = value()
		case arg == "--max-time" || arg == "-m":
			o.patience, err = time.ParseDuration(value() + "s")
		case arg == "--retry":
			o.retries, err = strconv.Atoi(value())
		case arg == "--retry-all-errors":
			o.retryAll = true
		case strings.HasPrefix(arg, "-") && strings.Trim(arg[1:], "sSf") == "":
			o.fail = o.fail || strings.Contains(arg, "f")
		case strings.HasPrefix(arg, "-"):
			err = fmt.Errorf("this one does not know %s", arg)
		default:
			o.url = arg
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "curl:", err)
			return 2
		}
	}
	code := o.ask(ctx)
	// As curl waits: one second, and each time twice as long.
	for pause := time.Second; code != 0 && o.retryAll && o.retries > 0; pause *= 2 {
		o.retries--
		<-time.After(pause)
		code = o.ask(ctx)
	}
	return code
}

func (o curlOptions) ask(ctx context.Context) int {
	url := o.url
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	ctx, cancel := context.WithTimeout(ctx, o.patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, o.method, url, http.NoBody)
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 3
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		if errors.Is(err, context.DeadlineExceeded) {
			return 28
		}
		return 7
	}
	defer func() { _ = resp.Body.Close() }()
	if o.fail && resp.StatusCode >= http.StatusBadRequest {
		fmt.Fprintln(os.Stderr, "curl: (22)", resp.Status)
		return 22
	}
	if _, err := io.Copy(os.Stdout, resp.Body); err != nil {
		fmt.Fprintln(os.Stderr, "curl:", err)
		return 56
	}
	return 0
}

// sleep ends at SIGTERM too, which a PID 1 that is not asked does not.
func sleep(ctx context.Context, args []string) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, os.Interrupt)
	defer stop()
	if len(args) == 1 && args[0] != "infinity" {
		seconds, err := time.ParseDuration(strings.TrimSuffix(args[0], "s") + "s")
		if err != nil {
			fmt.Fprintln(os.Stderr, "sleep:", err)
			return 1
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, seconds)
		defer cancel()
	}
	<-ctx.Done()
	return 0
}
