// SPDX-License-Identifier: MPL-2.0

package config

import "time"

// Companion is everything that podplane-injector can be told. Its table,
// [CompanionSettings], is another one than the sidecar's, read by the same code.
type Companion struct {
	Logging   Logging
	Consul    CompanionConsul
	Inject    Inject
	Defaults  PodDefaults
	Tenancy   Tenancy
	Registrar Registrar
	Webhook   Webhook
	Bootstrap ACLBootstrap

	// Kubeconfig is the path of a kubeconfig file; empty is the pod's own
	// ServiceAccount, or what $KUBECONFIG names.
	Kubeconfig string
	// Namespace is the companion's own Kubernetes namespace.
	Namespace string
	// LeaderElection lets one of several replicas register pods. LeaseName is the
	// Lease that they compete for.
	LeaderElection bool
	LeaseName      string
	// MetricsAddr and HealthAddr are host:port; MetricsAddr may be empty, for no
	// metrics.
	MetricsAddr, HealthAddr string

	// Help and Version tell that -help or -version was given; nothing is checked then.
	Help, Version bool
	// Warnings are sentences for the log.
	Warnings []string
}

// CompanionConsul is how the companion, and the sidecars that it configures,
// reach the Consul servers.
type CompanionConsul struct {
	// Addresses, GRPCPort, ServerWatchDisabled and TLS are those of [Consul].
	Addresses           string
	GRPCPort            int
	ServerWatchDisabled bool
	TLS                 ConsulTLS
	// HTTPPort is that of the servers' HTTP API; 0 is 8501 with TLS, else 8500.
	HTTPPort int
	// Datacenter is the servers' own unless set.
	Datacenter  string
	Credentials Credentials
}

// Inject says which pods are injected, and with what.
type Inject struct {
	// Image is the sidecar's.
	Image, ImagePullPolicy string
	// Default injects pods that say nothing.
	Default bool
	// AllowNamespaces and DenyNamespaces are names; "*" stands for all.
	AllowNamespaces, DenyNamespaces []string
	// NativeSidecars is auto, true or false.
	NativeSidecars string
	// Compat writes what HashiCorp's consul-dataplane image expects.
	Compat bool
	// CompanionImage is the image of podplane-injector itself, for Compat.
	CompanionImage string
	// AuthMethod is what sidecars log in to; empty means that ACLs are off.
	AuthMethod string
	// AnyAccount lets pods join whose ServiceAccount is not named like the service.
	AnyAccount bool
	// TokenAudience is the audience of the sidecars' service account tokens.
	TokenAudience string
	// TokenExpiry is the life of those tokens.
	TokenExpiry time.Duration
	// LogLevel and LogJSON are the sidecars'.
	LogLevel string
	LogJSON  bool
}

// The values of [Inject].NativeSidecars.
const (
	NativeAuto = "auto"
	NativeOn   = "true"
	NativeOff  = "false"
)

// PodDefaults hold for pods whose annotations say nothing.
type PodDefaults struct {
	Metrics, MetricsMerging         bool
	ScrapePort, MergePort           int
	ScrapePath, ServiceMetricsPath  string
	Lifecycle, DrainListeners       bool
	ShutdownGrace, StartupGrace     time.Duration
	GracefulPort                    int
	ShutdownPath, StartupPath       string
	ProxyHealthCheck                bool
	StartupFailure, LivenessFailure time.Duration
	// The start-up probe of native sidecars.
	ProbeDelay, ProbePeriod, ProbeTimeout            time.Duration
	ProbeFailures                                    int
	Concurrency                                      int
	ExtraArgs                                        string
	CPURequest, CPULimit, MemoryRequest, MemoryLimit string
}

// Tenancy is Consul Enterprise's.
type Tenancy struct {
	Namespaces           bool
	Destination          string
	Mirroring            bool
	MirroringPrefix      string
	Partition            string
	CrossNamespacePolicy string
}

// Registrar says how pods get into the catalog.
type Registrar struct {
	// ClusterName tells clusters that share a Consul datacenter apart.
	ClusterName string
	NodeSuffix  string
	NodeMeta    map[string]string
	// Workers is how many pods are brought up to date at the same time.
	Workers       int
	SweepInterval time.Duration
	Locality      bool
	// TokenCleanup deletes the ACL tokens of pods that are gone.
	TokenCleanup bool
}

// The values of [Webhook].CertMode.
const (
	CertsOwn   = "own"
	CertsFiles = "files"
)

// Webhook is the admission webhook's server.
type Webhook struct {
	// Addr is host:port.
	Addr string
	// ConfigurationName is the MutatingWebhookConfiguration, ServiceName the
	// Service that it names, SecretName the Secret with the certificates.
	ConfigurationName, ServiceName, SecretName string
	// CertMode is own or files. CertFile, KeyFile and CAFile are for files.
	CertMode, CertFile, KeyFile, CAFile string
	// ExtraNames are further DNS names for the certificate.
	ExtraNames            []string
	AuthorityTTL, LeafTTL time.Duration
	Concurrency           int
	// ShutdownDelay is how long the webhook goes on when the end is asked for.
	ShutdownDelay time.Duration
	// VersionInterval is the time between two looks at the API server's version.
	VersionInterval time.Duration
}

// ACLBootstrap is what bootstrap-acl makes in Consul.
type ACLBootstrap struct {
	// Token may manage ACLs. TokenPath is a file that holds it.
	Token     Secret
	TokenPath string
	// AuthMethod, Policy and Role are the names of what is made.
	AuthMethod, Policy, Role string
	// ServiceAccount is the companion's own.
	ServiceAccount string
	// MaxTokenTTL is the life of tokens that a login gives.
	MaxTokenTTL time.Duration
	// KubernetesHost, KubernetesCAFile and ReviewerTokenPath tell Consul how to
	// ask the API server about a bearer token.
	KubernetesHost, KubernetesCAFile, ReviewerTokenPath string
	// BindingSelector says which ServiceAccounts may log in as services.
	BindingSelector string
}
