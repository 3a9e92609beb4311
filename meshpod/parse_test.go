// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func TestPlainPod(t *testing.T) {
	t.Parallel()
	p := mustParse(t, nil)
	want := []Service{{Port: 8080, Ports: Ports{Public: 20000, Admin: 19000, Lifecycle: 20600, Merge: 20100, Ready: 21000, Scrape: 20200}}}
	if !reflect.DeepEqual(p.Services, want) {
		t.Errorf("services %+v, want %+v", p.Services, want)
	}
	if got := p.NameOf(p.Services[0], "shopfront"); got != "shopfront" {
		t.Errorf("name with a Service: %q", got)
	}
	if got := p.NameOf(p.Services[0], ""); got != "web" {
		t.Errorf("name without a Service: %q", got)
	}
	if got := p.ProxyID("shop", "web-0", p.Services[0]); got != "shop.web-0-0-sidecar-proxy" {
		t.Errorf("proxy ID %q", got)
	}
	if p.PrometheusBindAddr(p.Services[0]) != "" {
		t.Error("metrics are on")
	}
}

func TestStandardDefaultsAreValid(t *testing.T) {
	t.Parallel()
	for name, d := range map[string]Defaults{"standard": Standard(), "zero": {}} {
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, d := range map[string]Defaults{
		"compat":          {IDForm: IDCompat},
		"the last port":   {ScrapePort: maxPort, Metrics: true},
		"the first ports": {ScrapePort: minPort, MergePort: minPort + 1, GracefulPort: minPort + 2},
	} {
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bad := Defaults{ScrapePort: 80, GracefulPort: 20100, ShutdownGrace: -1, ExtraArgs: "--mode validate", IDForm: "x"}
	err := bad.Validate()
	for _, want := range []string{AnnotationScrapePort, "20100", AnnotationShutdownGrace, "--mode", AnnotationIDForm} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in %v", want, err)
		}
	}
}

// TestDefaultsHaveBounds: of a default that is good for one service, nothing is
// made for the second that is not.
func TestDefaultsHaveBounds(t *testing.T) {
	t.Parallel()
	d := Defaults{ScrapePort: maxPort, MergePort: maxPort - 10, GracefulPort: maxPort - 20, Metrics: true}
	two := newPod(map[string]string{AnnotationService: "web,admin", AnnotationServicePort: "http,metrics"})
	p, problems := Parse(two, d)
	if err := problems.Err(); err == nil || strings.Count(err.Error(), "\n") != 0 ||
		!strings.Contains(err.Error(), AnnotationScrapePort+`: "65535" is the default, and must be`) {
		t.Errorf("got %v and ports %+v", err, p.Services[1].Ports)
	}
	two.Annotations[AnnotationScrapePort] = "20200"
	if _, problems = Parse(two, d); problems.Err() != nil {
		t.Error(problems.Err())
	}
	if _, problems = Parse(newPod(nil), d); problems.Err() != nil {
		t.Error(problems.Err())
	}
	if _, problems = Parse(newPod(nil), Defaults{ShutdownGrace: -1}); problems.Err() == nil {
		t.Error("a negative time is taken")
	}
}

// TestErrors shows each message that refuses a pod.
func TestErrors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		annotations map[string]string
		want        string
	}{
		"boolean":             {map[string]string{AnnotationMetrics: "yes"}, `enable-metrics: "yes" must be true or false`},
		"number":              {map[string]string{AnnotationShutdownGrace: "30s"}, "must be a whole number between 0 and 86400"},
		"privileged port":     {map[string]string{AnnotationScrapePort: "80"}, "between 1024 and 65535"},
		"service name":        {map[string]string{AnnotationService: "web.shop"}, "letters, digits, - and _"},
		"shell in name":       {map[string]string{AnnotationService: "web$(reboot)"}, "letters, digits, - and _"},
		"service twice":       {map[string]string{AnnotationService: "web,web", AnnotationServicePort: "1,2"}, "is named twice"},
		"port name":           {map[string]string{AnnotationServicePort: "grpc"}, "the containers name http, metrics"},
		"port 0":              {map[string]string{AnnotationServicePort: "0"}, "between 1 and 65535"},
		"ports missing":       {map[string]string{AnnotationService: "web,admin"}, "one port for each of the 2 services"},
		"port twice":          {map[string]string{AnnotationService: "web,admin", AnnotationServicePort: "http,8080"}, "two services"},
		"default port":        {map[string]string{AnnotationServiceDefaultPort: "1234"}, "none of the service's ports"},
		"default of several":  {map[string]string{AnnotationService: "a,b", AnnotationServicePort: "1,2", AnnotationServiceDefaultPort: "1"}, "one service"},
		"upstream form":       {map[string]string{AnnotationUpstreams: "db"}, "must have one of the forms"},
		"upstream port":       {map[string]string{AnnotationUpstreams: "db:http"}, `local port between 1 and 65535, not "http"`},
		"upstream same port":  {map[string]string{AnnotationUpstreams: "db:1234,cache:1234"}, `same local port as "db:1234"`},
		"upstream app's port": {map[string]string{AnnotationUpstreams: "db:8080"}, "has a local port that is taken: port of container app"},
		"upstream own port":   {map[string]string{AnnotationUpstreams: "db:20000"}, "taken: public listener"},
		"upstream label":      {map[string]string{AnnotationUpstreams: "db.svc.x.y.z:1"}, "must have one of the forms"},
		"upstream name":       {map[string]string{AnnotationUpstreams: "d$b:1234"}, "names have letters"},
		"upstream option":     {map[string]string{AnnotationUpstreams: "db:1234:x=y"}, `unknown option "x"`},
		"upstream gateway":    {map[string]string{AnnotationUpstreams: "db:1234:mesh_gateway_mode=far"}, "local, remote or none"},
		"upstream address":    {map[string]string{AnnotationUpstreams: "db:1234:local_bind_address=0.0.0.0"}, "loopback"},
		"upstream dc + peer":  {map[string]string{AnnotationUpstreams: "db.svc.p.peer:1234:dc2"}, "cannot have a datacenter"},
		"upstream twice dc":   {map[string]string{AnnotationUpstreams: "db:1234:dc1:dc2"}, "must have one of the forms"},
		"upstream dest port":  {map[string]string{AnnotationUpstreams: "db:1234:destination_port=admin"}, "Enterprise"},
		"query":               {map[string]string{AnnotationUpstreams: "prepared_query:1234"}, "must have one of the forms"},
		"tags":                {map[string]string{AnnotationTags: "a,,b"}, "empty tag"},
		"meta key":            {map[string]string{AnnotationMetaPrefix + "a.b": "c"}, "must have a key"},
		"meta reserved":       {map[string]string{AnnotationMetaPrefix + "pod-name": "c"}, "reserved"},
		"meta value":          {map[string]string{AnnotationMetaPrefix + "a": strings.Repeat("x", 513)}, "512 bytes"},
		"proxy config":        {map[string]string{AnnotationProxyConfig: "[1]"}, "JSON object"},
		"proxy config two":    {map[string]string{AnnotationProxyConfig: "{} {}"}, "something follows"},
		"proxy config null":   {map[string]string{AnnotationProxyConfig: "null"}, "JSON object"},
		"proxy config port":   {map[string]string{AnnotationProxyConfig: `{"bind_port": 1}`}, "must not be set"},
		"path":                {map[string]string{AnnotationShutdownPath: "stop"}, "starts with /"},
		"path of its own":     {map[string]string{AnnotationShutdownPath: "/ready"}, "for itself"},
		"same path":           {map[string]string{AnnotationShutdownPath: "/graceful_startup"}, "same path"},
		"lifecycle port":      {map[string]string{AnnotationGracefulPort: "19000"}, "dataplane's lifecycle port, but also its Envoy's admin"},
		"TLS files":           {map[string]string{AnnotationPrometheusCertFile: "/x"}, "all three or none"},
		"TLS file":            {map[string]string{AnnotationPrometheusCAFile: "x"}, "absolute path"},
		"TLS CA twice":        {map[string]string{AnnotationPrometheusCAFile: "/a", AnnotationPrometheusCAPath: "/b"}, "contradicts"},
		"metrics port":        {map[string]string{AnnotationMetrics: "true", AnnotationMetricsMerging: "true", AnnotationServiceMetricsPort: "20200"}, "scrape itself"},
		"metrics ports":       {map[string]string{AnnotationServiceMetricsPort: "1,2"}, "one for each service"},
		"quantity":            {map[string]string{AnnotationCPULimit: "much"}, "quantity"},
		"request over limit":  {map[string]string{AnnotationMemoryLimit: "1Mi", AnnotationMemoryRequest: "1Gi"}, "more than the limit"},
		"extra args":          {map[string]string{AnnotationExtraArgs: `--log-level "debug`}, "split as in a shell"},
		"extra args word":     {map[string]string{AnnotationExtraArgs: "validate"}, "begins with -"},
		"extra args refused":  {map[string]string{AnnotationExtraArgs: "-l debug --config-path=/x"}, "not allowed"},
		"extra args yaml":     {map[string]string{AnnotationExtraArgs: "-l debug --config-yaml {}"}, "would change the proxy's configuration"},
		"extra args quoted":   {map[string]string{AnnotationExtraArgs: `"--config-yaml {}"`}, "would change the proxy's configuration"},
		"extra args log":      {map[string]string{AnnotationExtraArgs: "--log-path=/tmp/x"}, "read-only"},
		"extra args base":     {map[string]string{AnnotationExtraArgs: "--base-id-path /tmp/x"}, "read-only"},
		"extra args threads":  {map[string]string{AnnotationExtraArgs: "--concurrency 9"}, "use " + AnnotationConcurrency},
		"extra args parent":   {map[string]string{AnnotationExtraArgs: "--parent-shutdown-time-s 9"}, "decided by the dataplane"},
		"extra args second":   {map[string]string{AnnotationExtraArgs: "-l debug -- -addresses x"}, "begins with -"},
		"user volume":         {map[string]string{AnnotationUserVolume: `[{"nam":"x"}]`}, "JSON array of volumes"},
		"user mount":          {map[string]string{AnnotationUserMount: `{}`}, "JSON array of volume mounts"},
		"transparent proxy":   {map[string]string{AnnotationTransparentProxy: "true"}, "not supported yet"},
		"kubernetes service":  {map[string]string{AnnotationKubernetesService: "A B"}, "name of a Kubernetes Service"},
		"ID form":             {map[string]string{AnnotationIDForm: "new"}, "must be namespaced or compat"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse(newPod(tt.annotations), Standard())
			if err := problems.Err(); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		annotations map[string]string
		want        string
	}{
		"typo":          {map[string]string{Prefix + "conect-service": "web"}, "did you mean " + AnnotationService},
		"unknown":       {map[string]string{Prefix + "something-else-entirely": "1"}, "is not known and has no effect"},
		"tproxy detail": {map[string]string{Prefix + "transparent-proxy-exclude-uids": "1"}, "no effect without transparent proxy"},
		"dns":           {map[string]string{AnnotationConsulDNS: "true"}, "no effect without transparent proxy"},
		"several ports": {map[string]string{AnnotationServicePort: "8080,9102"}, "only 8080 is registered"},
		"variables":     {map[string]string{AnnotationUpstreams: "a-b:1,a_b:2"}, "A_B_CONNECT_SERVICE_HOST"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, problems := Parse(newPod(tt.annotations), Standard())
			if got := report(problems); problems.Err() != nil || !strings.Contains(got, tt.want) {
				t.Errorf("got %s, want %q", got, tt.want)
			}
		})
	}
}

func TestParseSkipsOwnContainers(t *testing.T) {
	t.Parallel()
	always := corev1.ContainerRestartPolicyAlways
	pod := newPod(nil)
	before, _ := Parse(pod, Standard())
	pod.Spec.Containers = append([]corev1.Container{{Name: ContainerDataplane, Ports: []corev1.ContainerPort{
		{Name: "proxy-health-0", ContainerPort: 21000},
	}}}, pod.Spec.Containers...)
	pod.Spec.InitContainers = []corev1.Container{{Name: ContainerDataplane + "-web", RestartPolicy: &always, Ports: []corev1.ContainerPort{
		{Name: "prometheus", ContainerPort: 20200},
	}}}
	after, problems := Parse(pod, Standard())
	if problems.Err() != nil || !reflect.DeepEqual(before, after) {
		t.Errorf("after injection %+v, %v; before %+v", after, problems, before)
	}
}
