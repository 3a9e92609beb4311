// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"podplane/integration/standin/stats"
)

// sendProto answers with a proto as Envoy prints it: indented JSON with the
// proto's own field names.
func sendProto(w http.ResponseWriter, m proto.Message, defaults bool) {
	compact, err := protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: defaults}.Marshal(m)
	var body bytes.Buffer
	if err == nil {
		// protojson varies its white space on purpose; Envoy's is constant.
		err = json.Indent(&body, compact, "", " ")
	}
	if err != nil {
		w.WriteHeader(http.StatusInternalServerError)
		write(w, err.Error()+"\n")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	write(w, body.String()+"\n")
}

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	state := s.cfg.Process.Info().GetState()
	if state != adminv3.ServerInfo_LIVE {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	write(w, state.String()+"\n")
}

func (s *Server) serverInfo(w http.ResponseWriter, _ *http.Request) {
	sendProto(w, s.cfg.Process.Info(), true)
}

func (s *Server) hotRestartVersion(w http.ResponseWriter, _ *http.Request) {
	write(w, s.cfg.Process.Info().GetHotRestartVersion())
}

func (s *Server) memory(w http.ResponseWriter, _ *http.Request) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	sendProto(w, &adminv3.Memory{
		Allocated: m.HeapAlloc, HeapSize: m.HeapSys, PageheapUnmapped: m.HeapReleased,
		PageheapFree: m.HeapIdle, TotalPhysicalBytes: residentBytes(m.Sys),
	}, true)
}

// residentBytes is the process's resident set, or otherwise if /proc is not there.
func residentBytes(otherwise uint64) uint64 {
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return otherwise
	}
	fields := strings.Fields(string(statm))
	if len(fields) < 2 {
		return otherwise
	}
	pages, err := strconv.ParseUint(fields[1], 10, 64)
	if err != nil {
		return otherwise
	}
	return pages * uint64(os.Getpagesize())
}

// query reads the parameters that /stats and /stats/prometheus share; ok is
// false if it has answered with what is wrong.
func query(w http.ResponseWriter, r *http.Request) (q stats.Query, ok bool) {
	q.UsedOnly = r.URL.Query().Has("usedonly")
	filter := r.URL.Query().Get("filter")
	if filter == "" {
		return q, true
	}
	re, err := regexp.Compile(filter)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		write(w, "Invalid re2 regex\n")
		return q, false
	}
	q.Filter = re
	return q, true
}

func (s *Server) stats(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r)
	if !ok {
		return
	}
	s.cfg.Refresh()
	var err error
	switch format := r.URL.Query().Get("format"); format {
	case "", "text":
		err = s.cfg.Stats.WriteText(w, q)
	case "json":
		w.Header().Set("Content-Type", "application/json")
		err = s.cfg.Stats.WriteJSON(w, q)
	case "prometheus":
		err = s.cfg.Stats.WritePrometheus(w, q)
	default:
		w.WriteHeader(http.StatusBadRequest)
		write(w, "usage: /stats?format=(html|active-html|json|prometheus|text)\n\n")
	}
	if err != nil {
		s.cfg.Logger.Debug("write stats", "error", err)
	}
}

func (s *Server) prometheus(w http.ResponseWriter, r *http.Request) {
	q, ok := query(w, r)
	if !ok {
		return
	}
	s.cfg.Refresh()
	if err := s.cfg.Stats.WritePrometheus(w, q); err != nil {
		s.cfg.Logger.Debug("write stats", "error", err)
	}
}

// listeners lists the active listeners; those that still warm are not shown.
func (s *Server) listeners(w http.ResponseWriter, r *http.Request) {
	asJSON := r.URL.Query().Get("format") == "json"
	answer := &adminv3.Listeners{}
	var text strings.Builder
	for _, l := range s.cfg.Traffic.Listeners() {
		if l.Warming {
			continue
		}
		fmt.Fprintf(&text, "%s::%s\n", l.Name, l.LocalAddress)
		answer.ListenerStatuses = append(answer.ListenerStatuses,
			&adminv3.ListenerStatus{Name: l.Name, LocalAddress: address(l.LocalAddress)})
	}
	if asJSON {
		sendProto(w, answer, false)
		return
	}
	write(w, text.String())
}
