// SPDX-License-Identifier: MPL-2.0

package xdsproxy

import (
	"crypto/subtle"
	"fmt"
	"net"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sys/unix"

	"podplane/xdsproxy/downstream"
)

// peerListener accepts connections of one process only, the Envoy that was
// started: whoever else reads this stream reads the proxy's private keys.
type peerListener struct {
	*net.UnixListener
	allowed func() int
	refused func()
	log     hclog.Logger
}

// Accept waits for a connection of the process that is allowed. Others are
// closed before a byte is read from them.
func (l *peerListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.AcceptUnix()
		if err != nil {
			return nil, err
		}
		pid, err := peerPID(conn)
		if err == nil && pid > 0 && pid == l.allowed() {
			return conn, nil
		}
		l.refused()
		l.log.Warn("refused a process on the xds socket that is not the envoy started here", "peer_pid", pid, "error", err)
		_ = conn.Close()
	}
}

// peerPID gives the ID of the process that connected, as the kernel noted it at
// that moment (SO_PEERCRED, unix(7)). A process of another PID namespace, such
// as one in another container of the pod, is 0.
func peerPID(conn *net.UnixConn) (int, error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	var cred *unix.Ucred
	var credErr error
	err = raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = credErr
	}
	if err != nil {
		return 0, fmt.Errorf("read peer credentials: %w", err)
	}
	return int(cred.Pid), nil
}

// trusted tells whether who opens a stream is the Envoy of this dataplane.
func (s *Server) trusted(stream *downstream.Stream) bool {
	if s.config.Secret == "" {
		return true // the listener has looked at the peer
	}
	given := stream.Header(SecretKey)
	if len(given) == 0 {
		given = stream.Header(tokenKey)
	}
	return len(given) == 1 && subtle.ConstantTimeCompare([]byte(given[0]), []byte(s.config.Secret)) == 1
}
