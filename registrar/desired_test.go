// SPDX-License-Identifier: MPL-2.0

package registrar

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/hashicorp/consul/api"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/meshpod"
)

func kubeService(name string, change ...func(*corev1.Service)) *corev1.Service {
	s := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, CreationTimestamp: metav1.Unix(1000, 0)},
		Spec:       corev1.ServiceSpec{Selector: map[string]string{"app": "web"}},
	}
	for _, c := range change {
		c(s)
	}
	return s
}

// What is registered for a pod, in full: the contract with the rest of the mesh.
func TestDesired(t *testing.T) {
	t.Parallel()
	now := time.Unix(5000, 0)
	cases := map[string]struct {
		pod     *corev1.Pod
		objects []client.Object
		config  func(*Config)
	}{
		"plain":         {pod: newPod("default", "web-1", "u1")},
		"not-ready":     {pod: newPod("default", "web-1", "u1", ready(corev1.ConditionFalse))},
		"service-names": {pod: newPod("default", "web-1", "u1"), objects: []client.Object{kubeService("shop")}},
		"everything": {
			pod: newPod("default", "web-1", "u1", annotate(
				meshpod.AnnotationService, "shop", meshpod.AnnotationServicePort, "http", meshpod.AnnotationTags, `a,b\,c,$POD_NAME`,
				meshpod.AnnotationMetaPrefix+"version", "2", meshpod.AnnotationMetaPrefix+"name", "$POD_NAME",
				meshpod.AnnotationMetrics, "true", meshpod.AnnotationScrapePort, "21212",
				meshpod.AnnotationProxyConfig, `{"protocol":"http","limits":{"max_connections":0,"on":false}}`,
				meshpod.AnnotationUpstreams, "a:1001, b.ns2.part:1002, c:1003:dc2, d.svc.e.peer:1004, prepared_query:f:1005, g:1006:local_bind_address=127.0.0.2:mesh_gateway_mode=local",
			)),
			objects: []client.Object{
				kubeService("web"),
				&corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{corev1.LabelTopologyRegion: "here", corev1.LabelTopologyZone: "here-1"}}},
			},
			config: func(c *Config) { c.Locality, c.NodeMeta = true, map[string]string{"rack": "7"} },
		},
		"several-services": {pod: newPod("default", "web-1", "u1", annotate(
			meshpod.AnnotationService, "web,web-admin", meshpod.AnnotationServicePort, "8080,9090", meshpod.AnnotationUpstreams, "a:1001", meshpod.AnnotationMetrics, "true",
		))},
		"no-port": {pod: newPod("default", "client", "u1", func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil })},
		"compat":  {pod: newPod("default", "web-1", "u1", annotate(meshpod.AnnotationIDForm, string(meshpod.IDCompat)))},
		"enterprise": {pod: newPod("team", "web-1", "u1", annotate(
			meshpod.AnnotationUpstreams, "a:1001,b.default:1002,c.svc.p.peer:1003", meshpod.AnnotationConsulNamespace, "k8s-team",
		)), config: func(c *Config) {
			c.Partition, c.Namespaces = "part", meshpod.Destination{Enabled: true, Mirror: true, Prefix: "k8s-"}
		}},
		"ended":          {pod: newPod("default", "web-1", "u1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded })},
		"waits":          {pod: newPod("default", "web-1", "u1", func(p *corev1.Pod) { p.Status.PodIP = "" })},
		"nameless":       {pod: newPod("default", "web-1", "u1", func(p *corev1.Pod) { p.Spec.ServiceAccountName = "default" })},
		"bad-annotation": {pod: newPod("default", "web-1", "u1", annotate(meshpod.AnnotationServicePort, "none"))},
		"deleted":        {pod: newPod("default", "web-1", "u1", deleted(now.Add(10*time.Second)))},
		"overdue":        {pod: newPod("default", "web-1", "u1", deleted(now.Add(-time.Minute)))},
		"ignored": {
			pod:     newPod("default", "web-1", "u1"),
			objects: []client.Object{kubeService("web", func(s *corev1.Service) { s.Labels = map[string]string{meshpod.LabelServiceIgnore: "true"} })},
		},
		"two-services": {
			pod: newPod("default", "web-1", "u1"),
			objects: []client.Object{
				kubeService("a-newer", func(s *corev1.Service) { s.CreationTimestamp = metav1.Unix(2000, 0) }), kubeService("older"),
				kubeService("other", func(s *corev1.Service) { s.Spec.Selector = map[string]string{"app": "db"} }),
			},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.kube = newKube(c.objects...)
			w.live = w.kube
			if c.config == nil {
				c.config = func(*Config) {}
			}
			w.restart(c.config)
			s, err := w.want(t.Context(), c.pod, now)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, name, s)
		})
	}
}

func deleted(at time.Time) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.DeletionTimestamp = &metav1.Time{Time: at} }
}

// golden compares what was decided with a file.
func golden(t *testing.T, name string, s state) {
	t.Helper()
	shown := struct {
		Registrations []*api.CatalogRegistration
		Reason        string `json:",omitempty"`
		Keep          bool   `json:",omitempty"`
		Wait          bool   `json:",omitempty"`
		Ended         bool   `json:",omitempty"`
		Again         string `json:",omitempty"`
		Note          string `json:",omitempty"`
		Detail        string `json:",omitempty"`
	}{Reason: s.reason, Keep: s.keep, Wait: s.wait, Ended: s.ended, Note: s.note, Detail: s.detail}
	for _, i := range s.instances {
		shown.Registrations = append(shown.Registrations, i.registration)
	}
	if s.again != 0 {
		shown.Again = s.again.String()
	}
	got, err := json.MarshalIndent(shown, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	file := filepath.Join("testdata", "desired", name+".json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("got\n%s\nnot, as in %s,\n%s", got, file, want)
	}
}
