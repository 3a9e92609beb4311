// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"errors"
	"strconv"
	"time"
)

// option is one row of Envoy's table of options. A switch takes no value.
type option struct {
	name   string // without dashes
	short  string // one letter, or empty
	help   string
	isBool bool
	set    func(*Options, string) error // value is "" for a switch
}

// id is how TCLAP names an option in its messages.
func (o option) id() string {
	if o.short != "" {
		return "-" + o.short + " (--" + o.name + ")"
	}
	return "(--" + o.name + ")"
}

// errValue says that TCLAP could not read an argument's value; the parser adds
// which argument and which value.
var errValue = errors.New("couldn't read argument value")

func table() []option {
	var t []option
	t = append(t, configOptions()...)
	t = append(t, logOptions()...)
	t = append(t, processOptions()...)
	return append(t, identityOptions()...)
}

func configOptions() []option {
	return []option{
		str("config-path", "c", "Path to configuration file", func(o *Options) *string { return &o.ConfigPath }),
		str("config-yaml", "", "Inline YAML configuration, merges with the contents of --config-path",
			func(o *Options) *string { return &o.ConfigYAML }),
		{name: "mode", help: "One of 'serve', 'validate' or 'init_only'", set: func(o *Options, v string) error {
			o.Mode = Mode(v)
			return nil
		}},
		toggle("allow-unknown-fields", "allow unknown fields in static configuration (DEPRECATED)",
			func(o *Options) *bool { return &o.AllowUnknownStaticFields }),
		toggle("allow-unknown-static-fields", "allow unknown fields in static configuration",
			func(o *Options) *bool { return &o.AllowUnknownStaticFields }),
		toggle("reject-unknown-dynamic-fields", "reject unknown fields in dynamic configuration",
			func(o *Options) *bool { return &o.RejectUnknownDynamicFields }),
		toggle("ignore-unknown-dynamic-fields", "ignore unknown fields in dynamic configuration",
			func(o *Options) *bool { return &o.IgnoreUnknownDynamicFields }),
		toggle("skip-deprecated-logs", "skips log warnings for deprecated fields",
			func(o *Options) *bool { return &o.SkipDeprecatedLogs }),
		str("admin-address-path", "", "Admin address path", func(o *Options) *string { return &o.AdminAddressPath }),
		str("local-address-ip-version", "", "The local IP address version (v4 or v6)",
			func(o *Options) *string { return &o.LocalAddressIPVersion }),
		str("disable-extensions", "", "Comma-separated list of extensions to disable",
			func(o *Options) *string { return &o.DisableExtensions }),
	}
}

func logOptions() []option {
	return []option{
		str("log-level", "l", "Log levels: [trace][debug][info][warning][error][critical][off]",
			func(o *Options) *string { return &o.LogLevel }),
		str("component-log-level", "", "Comma-separated list of component log levels, as in upstream:debug,config:trace",
			func(o *Options) *string { return &o.ComponentLogLevel }),
		str("log-format", "", "Log message format in spdlog syntax", func(o *Options) *string { return &o.LogFormat }),
		toggle("log-format-escaped", "Escape c-style escape sequences in the application logs",
			func(o *Options) *bool { return &o.LogFormatEscaped }),
		str("log-path", "", "Path to logfile", func(o *Options) *string { return &o.LogPath }),
		toggle("enable-fine-grain-logging", "Logger mode: enable file level log control",
			func(o *Options) *bool { return &o.EnableFineGrain }),
		millis("file-flush-interval-msec", "Interval for log flushing in msec",
			func(o *Options) *time.Duration { return &o.FileFlushInterval }),
		u32("file-flush-min-size-kb", "Minimum size in kilobytes for file flushing",
			func(o *Options) *uint32 { return &o.FileFlushMinSize }),
	}
}

func processOptions() []option {
	return []option{
		u32("concurrency", "# of worker threads to run", func(o *Options) *uint32 { return &o.Concurrency }),
		seconds("drain-time-s", "Hot restart and LDS removal drain time in seconds",
			func(o *Options) *time.Duration { return &o.DrainTime }),
		str("drain-strategy", "", "Hot restart drain sequence behaviour, one of 'gradual' (default) or 'immediate'",
			func(o *Options) *string { return &o.DrainStrategy }),
		seconds("parent-shutdown-time-s", "Hot restart parent shutdown time in seconds",
			func(o *Options) *time.Duration { return &o.ParentShutdown }),
		{name: "base-id", help: "Base ID so that multiple envoys can run on the same host if needed", set: func(o *Options, v string) error {
			n, err := strconv.ParseUint(v, 10, 32)
			if err != nil {
				return errValue
			}
			// Envoy scales it so that domain sockets of neighbours are apart.
			o.BaseID = n * 10
			return nil
		}},
		toggle("use-dynamic-base-id", "The server chooses a base ID dynamically",
			func(o *Options) *bool { return &o.UseDynamicBaseID }),
		str("base-id-path", "", "Path to which the base ID is written", func(o *Options) *string { return &o.BaseIDPath }),
		u32("restart-epoch", "Hot restart epoch #", func(o *Options) *uint32 { return &o.RestartEpoch }),
		toggle("disable-hot-restart", "Disable hot restart functionality",
			func(o *Options) *bool { return &o.DisableHotRestart }),
		toggle("hot-restart-version", "Hot restart compatibility version",
			func(o *Options) *bool { return &o.HotRestartVersion }),
		toggle("enable-mutex-tracing", "Enable mutex contention tracing functionality",
			func(o *Options) *bool { return &o.EnableMutexTracing }),
		toggle("cpuset-threads", "Get the default # of worker threads from cpuset size",
			func(o *Options) *bool { return &o.CPUSetThreads }),
		str("socket-path", "", "Path to hot restart socket file", func(o *Options) *string { return &o.SocketPath }),
		str("socket-mode", "", "Socket file permission", func(o *Options) *string { return &o.SocketMode }),
		toggle("enable-core-dump", "Enable core dumps", func(o *Options) *bool { return &o.EnableCoreDump }),
	}
}

func identityOptions() []option {
	version := toggle("version", "Displays version information and exits.", func(o *Options) *bool { return &o.Version })
	help := toggle("help", "Displays usage information and exits.", func(o *Options) *bool { return &o.Help })
	help.short = "h"
	return []option{
		str("service-cluster", "", "Cluster name", func(o *Options) *string { return &o.ServiceCluster }),
		str("service-node", "", "Node name", func(o *Options) *string { return &o.ServiceNode }),
		str("service-zone", "", "Zone name", func(o *Options) *string { return &o.ServiceZone }),
		version, help,
	}
}

func str(name, short, help string, field func(*Options) *string) option {
	return option{name: name, short: short, help: help, set: func(o *Options, v string) error {
		*field(o) = v
		return nil
	}}
}

func toggle(name, help string, field func(*Options) *bool) option {
	return option{name: name, help: help, isBool: true, set: func(o *Options, _ string) error {
		*field(o) = true
		return nil
	}}
}

func u32(name, help string, field func(*Options) *uint32) option {
	return option{name: name, help: help, set: func(o *Options, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return errValue
		}
		*field(o) = uint32(n)
		return nil
	}}
}

func seconds(name, help string, field func(*Options) *time.Duration) option {
	return duration(name, help, time.Second, field)
}

func millis(name, help string, field func(*Options) *time.Duration) option {
	return duration(name, help, time.Millisecond, field)
}

func duration(name, help string, unit time.Duration, field func(*Options) *time.Duration) option {
	return option{name: name, help: help, set: func(o *Options, v string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil {
			return errValue
		}
		*field(o) = time.Duration(n) * unit
		return nil
	}}
}
