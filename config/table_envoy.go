// SPDX-License-Identifier: MPL-2.0

package config

import "math"

// maxCount bounds what is counted, so that arithmetic on it cannot overflow.
const maxCount = math.MaxInt32

func envoySettings() []Setting {
	return []Setting{
		{
			Flag: "envoy-executable-path", Key: "envoy.executablePath", Default: "envoy", Group: groupEnvoy,
			Help: "Path of Envoy, or a name to look up on PATH.",
			bind: func(c *Config) value { return text(&c.Envoy.ExecutablePath, notEmpty()) },
		}, {
			Flag: "envoy-admin-bind-address", Key: "envoy.adminBindAddress", Default: "127.0.0.1", Group: groupEnvoy,
			Help: "The IP address of Envoy's admin interface.",
			bind: func(c *Config) value { return text(&c.Envoy.AdminBindAddr, ipAddress()) },
		}, {
			Flag: "envoy-admin-bind-port", Key: "envoy.adminBindPort", Default: "19000", Group: groupEnvoy,
			Help: "The port of Envoy's admin interface.",
			bind: func(c *Config) value { return number(&c.Envoy.AdminBindPort, 1, maxPort) },
		}, {
			Flag: "envoy-ready-bind-address", Key: "envoy.readyBindAddress", Group: groupEnvoy,
			Help: "The IP address of an Envoy listener that serves /ready. It exists only if the port is set too.",
			bind: func(c *Config) value { return text(&c.Envoy.ReadyBindAddr, optional(ipAddress())) },
		}, {
			Flag: "envoy-ready-bind-port", Key: "envoy.readyBindPort", Default: "0", Group: groupEnvoy,
			Help: "The port of the /ready listener. 0: no such listener.",
			bind: func(c *Config) value { return number(&c.Envoy.ReadyBindPort, 0, maxPort) },
		}, {
			Flag: "envoy-concurrency", Key: "envoy.concurrency", Default: "2", Group: groupEnvoy,
			Help: "The number of Envoy's worker threads.",
			bind: func(c *Config) value { return number(&c.Envoy.Concurrency, 0, maxCount) },
		}, {
			Flag: "envoy-drain-time-seconds", Env: "DP_ENVOY_DRAIN_TIME", Key: "envoy.drainTimeSeconds", Default: "30", Group: groupEnvoy,
			Help: "For how many seconds Envoy drains the connections of a listener that changes or goes.",
			bind: func(c *Config) value { return seconds(&c.Envoy.DrainTime, 0) },
		}, {
			Flag: "envoy-drain-strategy", Key: "envoy.drainStrategy", Default: "immediate", Group: groupEnvoy,
			Help: "Whether Envoy drains connections at once or spread over the drain time: `immediate` or `gradual`.",
			bind: func(c *Config) value { return text(&c.Envoy.DrainStrategy, oneOf("gradual", "immediate")) },
		}, {
			Flag: "envoy-max-restarts", Key: "envoy.maxRestarts", Default: "10", Group: groupEnvoy,
			Help: "How many times to restart a crashed Envoy within the window before giving up. 0: never restart it.",
			bind: func(c *Config) value { return number(&c.Envoy.MaxRestarts, 0, maxCount) },
		}, {
			Flag: "envoy-restart-window-seconds", Key: "envoy.restartWindowSeconds", Default: "600", Group: groupEnvoy,
			Help: "The window of `-envoy-max-restarts`, in seconds.",
			bind: func(c *Config) value { return seconds(&c.Envoy.RestartWindow, 1) },
		},
	}
}

func lifecycleSettings() []Setting {
	return []Setting{
		{
			Flag: "graceful-addr", Key: "envoy.gracefulAddr", Default: "127.0.0.1", Group: groupLifecycle,
			Help: "The IP address of the lifecycle server, which can stop the pod.",
			bind: func(c *Config) value { return text(&c.Lifecycle.Addr, ipAddress()) },
		}, {
			Flag: "graceful-port", Key: "envoy.gracefulPort", Default: "20600", Group: groupLifecycle,
			Help: "The port of the lifecycle server. 0: any free port.",
			bind: func(c *Config) value { return number(&c.Lifecycle.Port, 0, maxPort) },
		}, {
			Flag: "graceful-shutdown-path", Key: "envoy.gracefulShutdownPath", Default: "/graceful_shutdown", Group: groupLifecycle,
			Help: "The path that starts a graceful shutdown.",
			bind: func(c *Config) value { return text(&c.Lifecycle.ShutdownPath, urlPath()) },
		}, {
			Flag: "graceful-startup-path", Key: "envoy.gracefulStartupPath", Default: "/graceful_startup", Group: groupLifecycle,
			Help: "The path that answers once Envoy is ready.",
			bind: func(c *Config) value { return text(&c.Lifecycle.StartupPath, urlPath()) },
		}, {
			Flag: "shutdown-drain-listeners", Key: "envoy.shutdownDrainListenersEnabled", Default: "false", Group: groupLifecycle,
			Help: "Drain the inbound listeners during a shutdown.",
			bind: func(c *Config) value { return boolean(&c.Lifecycle.ShutdownDrainListeners) },
		}, {
			Flag: "shutdown-grace-period-seconds", Key: "envoy.shutdownGracePeriodSeconds", Default: "0", Group: groupLifecycle,
			Help: "For how many seconds at most a shutdown waits for work in flight.",
			bind: func(c *Config) value { return seconds(&c.Lifecycle.ShutdownGracePeriod, 0) },
		}, {
			Flag: "shutdown-when-idle", Key: "envoy.shutdownWhenIdle", Default: string(IdleAuto), Group: groupLifecycle,
			Help: "Whether a shutdown ends as soon as nothing is in flight: `always`, `never` (it keeps the whole grace period), " +
				"or `auto` (only if it was asked for over HTTP, not by a signal).",
			bind: func(c *Config) value {
				return text(&c.Lifecycle.ShutdownWhenIdle, oneOf(string(IdleAuto), string(IdleAlways), string(IdleNever)))
			},
		}, {
			Flag: "startup-grace-period-seconds", Key: "envoy.startupGracePeriodSeconds", Default: "0", Group: groupLifecycle,
			Help: "For how many seconds at most the start-up path holds its answer.",
			bind: func(c *Config) value { return seconds(&c.Lifecycle.StartupGracePeriod, 0) },
		}, {
			Flag: "termination-grace-period-seconds", Key: "envoy.terminationGracePeriodSeconds", Default: "0", Group: groupLifecycle,
			Help: "The pod's own termination grace period in seconds, below which a shutdown is made to fit. 0: unknown.",
			bind: func(c *Config) value { return seconds(&c.Lifecycle.TerminationGracePeriod, 0) },
		}, {
			Flag: "dump-envoy-config-on-exit", Key: "envoy.dumpEnvoyConfigOnExitEnabled", Default: "false", Group: groupLifecycle,
			Help: "Write Envoy's configuration to standard output during a shutdown.",
			bind: func(c *Config) value { return boolean(&c.Lifecycle.DumpEnvoyConfigOnExit) },
		},
	}
}
