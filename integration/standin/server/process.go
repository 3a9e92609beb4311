// SPDX-License-Identifier: MPL-2.0

package server

import (
	"fmt"
	"io"
	"os"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	accesslogv3 "github.com/envoyproxy/go-control-plane/envoy/config/accesslog/v3"
	filelogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/file/v3"
	streamlogv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/access_loggers/stream/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"podplane/integration/standin/admin"
)

// Info is the answer of /server_info.
func (s *Server) Info() *adminv3.ServerInfo {
	uptime := durationpb.New(time.Since(s.started).Truncate(time.Second))
	hot := "disabled"
	if !s.cfg.Options.DisableHotRestart {
		hot = hotRestartVersion
	}
	return &adminv3.ServerInfo{
		Version: Version, State: s.state.get(), HotRestartVersion: hot,
		UptimeCurrentEpoch: uptime, UptimeAllEpochs: uptime,
		CommandLineOptions: s.cfg.Options.Proto(), Node: s.node,
	}
}

// hotRestartVersion has the form of Envoy's.
const hotRestartVersion = "11.104"

// FailHealthcheck fails or restores the health check.
func (s *Server) FailHealthcheck(fail bool) {
	s.state.fail(fail)
	s.engine.HealthcheckFail(fail)
}

// newAdmin binds the admin endpoint, or gives nil if the bootstrap has none.
func (s *Server) newAdmin() (*admin.Server, error) {
	cfg := s.cfg.Bootstrap.GetAdmin()
	if cfg.GetAddress() == nil {
		s.logger.Warn("no admin address given, so no admin HTTP server started")
		return nil, nil //nolint:nilnil // a server without an endpoint is normal
	}
	log, err := s.accessLog(cfg.GetAccessLog(), cfg.GetAccessLogPath()) //nolint:staticcheck // deprecated, and still read by Envoy
	if err != nil {
		return nil, err
	}
	server, err := admin.New(admin.Config{
		Address: cfg.GetAddress(), Process: s, Traffic: s.engine, Logs: s.cfg.Logs, Stats: s.store,
		Logger: s.cfg.Logs.Logger("admin"), AccessLog: log, ViaAPI: s.clusters.viaAPI, Refresh: s.gauges.refresh,
	})
	if err != nil {
		return nil, err
	}
	s.writeAddress(server.Addr().String())
	return server, nil
}

// writeAddress leaves the bound address in the file of --admin-address-path. As
// in Envoy, a file that cannot be written is logged and no reason to end.
func (s *Server) writeAddress(address string) {
	path := s.cfg.Options.AdminAddressPath
	if path == "" {
		return
	}
	if err := os.WriteFile(path, []byte(address), 0o600); err != nil {
		s.cfg.Logs.Critical("admin", "cannot open admin address output file for writing", "path", path, "error", err)
	}
}

// accessLog opens the sinks of the admin's access log.
func (s *Server) accessLog(logs []*accesslogv3.AccessLog, path string) (io.Writer, error) {
	var sinks []io.Writer
	open := func(path string) error {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return fmt.Errorf("unable to open file '%s': %w", path, err)
		}
		s.files = append(s.files, f)
		sinks = append(sinks, f)
		return nil
	}
	if path != "" {
		if err := open(path); err != nil {
			return nil, err
		}
	}
	for _, l := range logs {
		sink, err := l.GetTypedConfig().UnmarshalNew()
		if err != nil {
			return nil, fmt.Errorf("admin: access log %s: %w", l.GetName(), err)
		}
		var custom bool
		switch sink := sink.(type) {
		case *filelogv3.FileAccessLog:
			custom = sink.GetAccessLogFormat() != nil
			err = open(sink.GetPath())
		case *streamlogv3.StdoutAccessLog:
			custom = sink.GetAccessLogFormat() != nil
			sinks = append(sinks, os.Stdout)
		case *streamlogv3.StderrAccessLog:
			custom = sink.GetAccessLogFormat() != nil
			sinks = append(sinks, os.Stderr)
		default:
			err = fmt.Errorf("admin: access log %s is not supported", l.GetName())
		}
		if err != nil {
			return nil, err
		}
		if custom {
			s.logger.Warn("the stand-in writes its admin access log in the default format", "access_log", l.GetName())
		}
	}
	if len(sinks) == 0 {
		return nil, nil //nolint:nilnil // no access log is normal
	}
	return io.MultiWriter(sinks...), nil
}
