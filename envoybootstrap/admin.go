// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"errors"
	"fmt"
)

// admin is envoy.config.bootstrap.v3.Admin.
type admin struct {
	AccessLog []any   `json:"access_log"`
	Address   address `json:"address"`
}

type fileAccessLog struct {
	Type string `json:"@type"`
	Path string `json:"path"`
}

// newAdmin gives the admin interface the access logs that Consul asks for, and otherwise a log that goes nowhere.
func newAdmin(bind Address, accessLogs []string) (admin, error) {
	a := admin{Address: socket(bind)}
	var errs []error
	for i, text := range accessLogs {
		logger, err := parseObject(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("access log %d from Consul: %w", i, err))
			continue
		}
		a.AccessLog = append(a.AccessLog, logger)
	}
	if len(accessLogs) == 0 {
		a.AccessLog = []any{extension{
			Name:        "envoy.access_loggers.file",
			TypedConfig: fileAccessLog{Type: typeURL("envoy.extensions.access_loggers.file.v3.FileAccessLog"), Path: devNull},
		}}
	}
	return a, errors.Join(errs...)
}

const devNull = "/dev/null"
