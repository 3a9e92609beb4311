// SPDX-License-Identifier: MPL-2.0

package cli

import (
	"runtime"
	"time"

	adminv3 "github.com/envoyproxy/go-control-plane/envoy/admin/v3"
	"google.golang.org/protobuf/types/known/durationpb"
)

// DefaultLogFormat is Envoy's own, in spdlog's syntax.
const DefaultLogFormat = "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v"

// Mode says what the server is to do with its configuration.
type Mode string

// The modes of Envoy.
const (
	ModeServe    Mode = "serve"     // validate, then serve until told to stop
	ModeValidate Mode = "validate"  // validate and exit
	ModeInitOnly Mode = "init_only" // initialise completely, then exit
)

// Options is a command line that Envoy would accept. The zero value is not
// useful; take [Defaults] or [Parse].
type Options struct {
	ConfigPath string // --config-path, -c
	ConfigYAML string // --config-yaml, merged over ConfigPath
	Mode       Mode

	Help    bool // --help or -h: print the usage and end
	Version bool // --version: print the version and end
	// HotRestartVersion is --hot-restart-version: print it and end.
	HotRestartVersion bool

	LogLevel          string // one of Levels, spelled as spdlog does
	ComponentLogLevel string // the raw text, for /server_info
	ComponentLevels   map[string]string
	LogFormat         string
	LogFormatEscaped  bool
	LogPath           string // empty: standard error

	Concurrency    uint32
	DrainTime      time.Duration
	DrainStrategy  string // "gradual" or "immediate"
	ParentShutdown time.Duration

	BaseID            uint64
	UseDynamicBaseID  bool
	BaseIDPath        string
	RestartEpoch      uint32
	DisableHotRestart bool

	ServiceCluster string
	ServiceNode    string
	ServiceZone    string

	AdminAddressPath      string // file that receives the admin's bound address
	LocalAddressIPVersion string // "v4" or "v6"

	AllowUnknownStaticFields   bool
	RejectUnknownDynamicFields bool
	IgnoreUnknownDynamicFields bool
	SkipDeprecatedLogs         bool

	FileFlushInterval  time.Duration
	FileFlushMinSize   uint32
	DisableExtensions  string
	EnableMutexTracing bool
	EnableFineGrain    bool
	CPUSetThreads      bool
	SocketPath         string
	SocketMode         string
	EnableCoreDump     bool
}

// Defaults returns the options of an empty command line.
func Defaults() Options {
	return Options{
		Mode:                  ModeServe,
		LogLevel:              "info",
		LogFormat:             DefaultLogFormat,
		Concurrency:           uint32(runtime.NumCPU()),
		DrainTime:             600 * time.Second,
		DrainStrategy:         "gradual",
		ParentShutdown:        900 * time.Second,
		LocalAddressIPVersion: "v4",
		FileFlushInterval:     10 * time.Second,
		FileFlushMinSize:      64,
		SocketPath:            "@envoy_domain_socket",
		SocketMode:            "600",
	}
}

// Proto gives the options in the form that the admin endpoint /server_info shows.
func (o Options) Proto() *adminv3.CommandLineOptions {
	p := &adminv3.CommandLineOptions{
		BaseId:                     o.BaseID,
		UseDynamicBaseId:           o.UseDynamicBaseID,
		BaseIdPath:                 o.BaseIDPath,
		Concurrency:                o.Concurrency,
		ConfigPath:                 o.ConfigPath,
		ConfigYaml:                 o.ConfigYAML,
		AllowUnknownStaticFields:   o.AllowUnknownStaticFields,
		RejectUnknownDynamicFields: o.RejectUnknownDynamicFields,
		IgnoreUnknownDynamicFields: o.IgnoreUnknownDynamicFields,
		SkipDeprecatedLogs:         o.SkipDeprecatedLogs,
		AdminAddressPath:           o.AdminAddressPath,
		LogLevel:                   o.LogLevel,
		ComponentLogLevel:          o.ComponentLogLevel,
		LogFormat:                  o.LogFormat,
		LogFormatEscaped:           o.LogFormatEscaped,
		LogPath:                    o.LogPath,
		ServiceCluster:             o.ServiceCluster,
		ServiceNode:                o.ServiceNode,
		ServiceZone:                o.ServiceZone,
		FileFlushInterval:          durationpb.New(o.FileFlushInterval),
		FileFlushMinSize:           o.FileFlushMinSize,
		DrainTime:                  durationpb.New(o.DrainTime),
		ParentShutdownTime:         durationpb.New(o.ParentShutdown),
		DisableHotRestart:          o.DisableHotRestart,
		EnableMutexTracing:         o.EnableMutexTracing,
		RestartEpoch:               o.RestartEpoch,
		CpusetThreads:              o.CPUSetThreads,
		EnableFineGrainLogging:     o.EnableFineGrain,
		SocketPath:                 o.SocketPath,
		EnableCoreDump:             o.EnableCoreDump,
	}
	switch o.Mode {
	case ModeValidate:
		p.Mode = adminv3.CommandLineOptions_Validate
	case ModeInitOnly:
		p.Mode = adminv3.CommandLineOptions_InitOnly
	case ModeServe:
		p.Mode = adminv3.CommandLineOptions_Serve
	}
	if o.DrainStrategy == "immediate" {
		p.DrainStrategy = adminv3.CommandLineOptions_Immediate
	}
	if o.LocalAddressIPVersion == "v6" {
		p.LocalAddressIpVersion = adminv3.CommandLineOptions_v6
	}
	return p
}
