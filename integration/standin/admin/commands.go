// SPDX-License-Identifier: MPL-2.0

package admin

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sort"
	"strings"
)

// drainListeners stops listeners, at once or after a graceful drain; with
// skip_exit the end of the drain leaves them as they are.
func (s *Server) drainListeners(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	graceful := q.Has("graceful")
	if q.Has("skip_exit") && !graceful {
		w.WriteHeader(http.StatusBadRequest)
		write(w, "skip_exit requires graceful\n")
		return
	}
	if q.Has("skip_exit") {
		s.cfg.Traffic.DrainClients(q.Has("inboundonly"))
	} else {
		s.cfg.Traffic.DrainListeners(q.Has("inboundonly"), graceful)
	}
	write(w, "OK\n")
}

func (s *Server) healthcheckFail(w http.ResponseWriter, _ *http.Request) {
	s.cfg.Process.FailHealthcheck(true)
	write(w, "OK\n")
}

func (s *Server) healthcheckOK(w http.ResponseWriter, _ *http.Request) {
	s.cfg.Process.FailHealthcheck(false)
	write(w, "OK\n")
}

func (s *Server) quit(w http.ResponseWriter, _ *http.Request) {
	write(w, "OK\n")
	s.cfg.Process.Quit()
}

func (s *Server) resetCounters(w http.ResponseWriter, _ *http.Request) {
	s.cfg.Stats.ResetCounters()
	write(w, "OK\n")
}

// logging shows the levels, after changing them if a parameter asks for that.
func (s *Server) logging(w http.ResponseWriter, r *http.Request) {
	if err := s.changeLevels(r.URL.Query()); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		write(w, fmt.Sprintf("error: %s\n\n"+
			"usage: /logging?<name>=<level> (change single level)\n"+
			"usage: /logging?paths=name1:level1,name2:level2,... (change multiple levels)\n"+
			"usage: /logging?level=<level> (change all levels)\n"+
			"levels: trace debug info warning error critical off \n", err))
	}
	levels := s.cfg.Logs.Levels()
	names := make([]string, 0, len(levels))
	for name := range levels {
		names = append(names, name)
	}
	sort.Strings(names)
	var b strings.Builder
	b.WriteString("active loggers:\n")
	for _, name := range names {
		fmt.Fprintf(&b, "  %s: %s\n", name, levels[name])
	}
	b.WriteString("\n")
	write(w, b.String())
}

func (s *Server) changeLevels(q url.Values) error {
	if len(q) == 0 {
		return nil
	}
	if len(q) != 1 {
		return errors.New("invalid number of parameters")
	}
	for key, values := range q {
		switch value := values[0]; key {
		case "level":
			return s.cfg.Logs.SetAll(value)
		case "paths":
			levels := map[string]string{}
			for pair := range strings.SplitSeq(value, ",") {
				name, level, _ := strings.Cut(pair, ":")
				if name == "" || level == "" {
					return errors.New("empty logger name or empty logger level")
				}
				levels[name] = level
			}
			return s.cfg.Logs.Set(levels)
		default:
			return s.cfg.Logs.Set(map[string]string{key: value})
		}
	}
	return nil
}
