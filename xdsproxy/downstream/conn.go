// SPDX-License-Identifier: MPL-2.0

package downstream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	// helloTimeout is how long a connection may take until a stream is accepted on
	// it. Envoy opens a connection for a stream that it wants.
	helloTimeout = 10 * time.Second
	// goodbyeTimeout bounds the writing of what is left when a connection ends.
	goodbyeTimeout = time.Second
	// maxStreams is how many streams may be open on a connection. Envoy needs one,
	// and the next when that one has ended.
	maxStreams = 16

	readBuffer = 16 << 10
	// headerTable is the size in bytes of HPACK's table for what is received.
	headerTable = 4 << 10
)

// errLost ends the streams of a connection that has ended.
var errLost = status.Error(codes.Unavailable, "the connection has ended")

// conn is one connection. All but out belongs to the goroutine that reads.
type conn struct {
	config  Config
	net     net.Conn
	out     *outbox
	in      inflow
	streams map[uint32]*Stream
	last    uint32 // the latest stream that the client has opened
}

// serve serves one connection until it ends or ctx is done.
func serve(ctx context.Context, nc net.Conn, config Config) {
	defer func() { _ = nc.Close() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	c := &conn{config: config, net: nc, out: newOutbox(nc), in: newInflow(), streams: make(map[uint32]*Stream)}
	var writer sync.WaitGroup
	writer.Go(func() {
		c.out.run()
		_ = nc.Close() // if it is an error that ends writing, it ends reading, too
	})
	err := c.read(ctx)
	for _, s := range c.streams {
		s.drop(errLost)
	}
	_ = nc.SetWriteDeadline(time.Now().Add(goodbyeTimeout))
	c.out.close(func(f *http2.Framer) error {
		if code, blamed := blame(err); blamed {
			return f.WriteGoAway(c.last, code, nil)
		}
		return nil
	})
	writer.Wait()
}

// blame tells whether it is the client's fault that the connection ends.
func blame(err error) (http2.ErrCode, bool) {
	var broken http2.ConnectionError
	switch {
	case errors.As(err, &broken):
		return http2.ErrCode(broken), true
	case errors.Is(err, http2.ErrFrameTooLarge):
		return http2.ErrCodeFrameSize, true
	case errors.Is(err, errDoesNotRead):
		return http2.ErrCodeEnhanceYourCalm, true
	case errors.Is(err, errWindowIsFull):
		return http2.ErrCodeFlowControl, true
	}
	return 0, false
}

// read reads the connection to its end, and gives the reason for it.
func (c *conn) read(ctx context.Context) error {
	if err := c.net.SetReadDeadline(time.Now().Add(helloTimeout)); err != nil {
		return err
	}
	if err := c.out.answer(hello); err != nil {
		return err
	}
	buffered := bufio.NewReaderSize(c.net, readBuffer)
	preface := make([]byte, len(http2.ClientPreface))
	if _, err := io.ReadFull(buffered, preface); err != nil {
		return err
	}
	if string(preface) != http2.ClientPreface {
		return http2.ConnectionError(http2.ErrCodeProtocol)
	}
	frames := http2.NewFramer(io.Discard, buffered)
	frames.SetReuseFrames()
	frames.SetMaxReadFrameSize(defaultMaxFrame)
	frames.MaxHeaderListSize = maxHeaderList
	frames.ReadMetaHeaders = hpack.NewDecoder(headerTable, nil)
	for first := true; ; first = false {
		f, err := frames.ReadFrame()
		if err == nil {
			if _, ok := f.(*http2.SettingsFrame); first && !ok {
				return http2.ConnectionError(http2.ErrCodeProtocol)
			}
			err = c.take(ctx, f)
		}
		if broken, ok := errors.AsType[http2.StreamError](err); ok {
			err = c.reset(broken)
		}
		if err != nil {
			return err
		}
	}
}

// hello sends the settings with which a connection begins, and opens its window.
func hello(f *http2.Framer) error {
	err := f.WriteSettings(
		http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: maxStreams},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: window},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: maxHeaderList},
	)
	return errors.Join(err, f.WriteWindowUpdate(0, window-defaultWindow))
}
