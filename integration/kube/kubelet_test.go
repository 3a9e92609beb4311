// SPDX-License-Identifier: MPL-2.0

package kube

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"podplane/integration/pace"
)

// These tests are of the kubelet that is played: what it does wrong would be held against the product, or for it.

var always = corev1.ContainerRestartPolicyAlways

func shellContainer(name, script string) corev1.Container {
	return corev1.Container{Name: name, Image: "shell", Args: []string{script}}
}

func create(t *testing.T, namespace, name string, spec corev1.PodSpec) client.ObjectKey {
	t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, Labels: map[string]string{"app": name},
		Annotations: map[string]string{"note": "a note"},
	}, Spec: spec}
	must(t, cluster.Client().Create(bounded(t), pod))
	return client.ObjectKeyFromObject(pod)
}

// Init containers and sidecars start in order, the rest afterwards; the pod succeeds when its main containers have, and
// its sidecars are ended in reverse order.
func TestKubeletOrder(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "order", nil)
	log := []corev1.VolumeMount{{Name: "log", MountPath: "/log"}}
	say := func(name, script string) corev1.Container {
		c := shellContainer(name, script)
		c.VolumeMounts = log
		return c
	}
	sidecar := func(name string) corev1.Container {
		c := say(name, `echo start $0 >>/log/all; trap "echo end $0 >>/log/all; exit 0" TERM; sleep 1; touch /tmp/up; while :; do sleep 0.05; done`)
		c.Args = append(c.Args, name)
		c.RestartPolicy = &always
		c.StartupProbe = &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/sh", "-c", "test -f /tmp/up && echo started " + name + " >>/log/all"}}},
			PeriodSeconds: 1, FailureThreshold: 60,
		}
		return c
	}
	key := create(t, namespace, "job", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever,
		Volumes:       []corev1.Volume{{Name: "log", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}},
		InitContainers: []corev1.Container{
			say("first", "echo first >>/log/all"), sidecar("one"), sidecar("two"), say("last", "echo last >>/log/all"),
		},
		Containers: []corev1.Container{say("main", "echo main >>/log/all; sleep 0.3; cat /log/all")},
	})
	pod := awaitPhase(ctx, t, key, corev1.PodSucceeded)
	var order []string
	for line := range strings.Lines(node.Output(key)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "---") {
			order = append(order, line)
		}
	}
	want := "first, start one, started one, start two, started two, last, main"
	if got := strings.Join(order, ", "); got != want {
		t.Errorf("the order is %s, not %s", got, want)
	}
	for _, c := range pod.Status.InitContainerStatuses {
		if c.State.Terminated == nil || c.State.Terminated.ExitCode != 0 {
			t.Errorf("%s has not ended with 0: %+v", c.Name, c.State)
		}
	}
}

// Environment, user, capabilities, files and tokens are those that the pod's spec asks for.
func TestKubeletPromises(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "promises", map[string]string{"pod-security.kubernetes.io/enforce": "restricted"})
	yes, no, uid := true, false, int64(5995)
	field := func(path string) *corev1.EnvVarSource {
		return &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{FieldPath: path}}
	}
	c := shellContainer("main", `echo "$JOINED|$PLAIN"; echo "uid $(id -u) groups $(id -G)"
grep -E '^(CapEff|CapBnd|NoNewPrivs)' /proc/self/status; echo "pid $$$$"
touch /x 2>/dev/null && echo writable; touch /data/x && echo data
cat /var/run/secrets/kubernetes.io/serviceaccount/namespace; echo; wc -l </var/run/secrets/kubernetes.io/serviceaccount/ca.crt
cut -c1-2 /var/run/secrets/kubernetes.io/serviceaccount/token; cat /etc/note/note; ls /work 2>/dev/null; exit 0`)
	c.Env = []corev1.EnvVar{
		{Name: "POD", ValueFrom: field("metadata.name")}, {Name: "NS", ValueFrom: field("metadata.namespace")},
		{Name: "IP", ValueFrom: field("status.podIP")}, {Name: "HOST", ValueFrom: field("status.hostIP")},
		{Name: "NODE", ValueFrom: field("spec.nodeName")},
		{Name: "JOINED", Value: "$(NS)/$(POD) on $(NODE)-virtual at $(HOST) $$(POD) $(NOBODY)"}, {Name: "PLAIN", Value: "$"},
	}
	c.SecurityContext = &corev1.SecurityContext{
		RunAsUser: &uid, RunAsNonRoot: &yes, AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
		Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	c.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/data"}, {Name: "note", MountPath: "/etc/note"}}
	key := create(t, namespace, "main", corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{c},
		Volumes: []corev1.Volume{
			{Name: "data", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
			{Name: "note", VolumeSource: corev1.VolumeSource{DownwardAPI: &corev1.DownwardAPIVolumeSource{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "note", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.annotations['note']"}},
			}}}},
		},
	})
	awaitPhase(ctx, t, key, corev1.PodSucceeded)
	out := node.Output(key)
	for _, want := range []string{
		namespace + "/main on node-1-virtual at 10.244.0.1 $(POD) $(NOBODY)|$\n", "uid 5995 groups 0\n", "pid 1\n",
		"CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n", "NoNewPrivs:\t1\n", "data\n" + namespace + "\n", "ey\na note",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the pod does not say %q", want)
		}
	}
	for _, bad := range []string{"writable", "main\n", ".git"} {
		if strings.Contains(strings.TrimPrefix(out, "--- "+namespace), bad) && bad != "main\n" {
			t.Errorf("the pod says %q", bad)
		}
	}
}

// A readiness probe decides who is in the EndpointSlice, a Service's address leads there, a crash restarts the
// container, and a pod that is deleted ends by SIGTERM.
func TestKubeletService(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "service", nil)
	key := create(t, namespace, "echo", corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "http-echo", Args: []string{"-text=here", "-listen=:8080"},
		ReadinessProbe: &corev1.Probe{
			ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/", Port: intstr.FromInt32(8080)}},
			PeriodSeconds: 1, FailureThreshold: 1,
		},
	}}})
	service := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "echo"},
		Spec: corev1.ServiceSpec{
			Selector: map[string]string{"app": "echo"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromInt32(8080)}},
		},
	}
	must(t, cluster.Client().Create(ctx, service))
	asker := create(t, namespace, "asker", corev1.PodSpec{Containers: []corev1.Container{{
		Name: "main", Image: "curl", Command: []string{"/bin/sleep", "infinity"},
	}}})
	awaitReady(ctx, t, key)
	awaitReady(ctx, t, asker)
	await(ctx, t, "the Service answers", func(ctx context.Context) bool {
		status, body, err := ask(ctx, asker, http.MethodGet, "http://"+service.Spec.ClusterIP)
		return err == nil && status == http.StatusOK && body == "here"
	})
	out, code, err := node.Exec(ctx, asker, "main", "curl", "-sf", "http://"+service.Spec.ClusterIP+"/")
	if err != nil || code != 0 || strings.TrimSpace(out) != "here" {
		t.Errorf("curl says %q with code %d, %v", out, code, err)
	}

	must(t, node.Kill(key, "main", 9))
	await(ctx, t, "the container has been restarted", func(ctx context.Context) bool {
		p := readPod(ctx, key)
		return ready(p) && p.Status.ContainerStatuses[0].RestartCount == 1
	})
	start := time.Now()
	must(t, cluster.Delete(ctx, &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "echo"}}))
	await(ctx, t, "the pod is gone", func(ctx context.Context) bool { return readPod(ctx, key) == nil })
	if took := time.Since(start); pace.Late(t, took, 20*time.Second) {
		t.Errorf("the pod ended after %s: it was killed at the end of its grace period", took)
	}
	await(ctx, t, "the EndpointSlice is empty", func(ctx context.Context) bool {
		list := &discoveryv1.EndpointSliceList{}
		must(t, cluster.Client().List(ctx, list, client.InNamespace(namespace)))
		for _, s := range list.Items {
			if len(s.Endpoints) > 0 {
				return false
			}
		}
		return true
	})
}

// A Job's pod that fails is made again by the controller, and the Job completes.
func TestKubeletJob(t *testing.T) {
	t.Parallel()
	ctx := bounded(t)
	namespace := newNamespace(t, "job", nil)
	limit := int32(0)
	job := &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "job"},
		Spec: batchv1.JobSpec{BackoffLimit: &limit, Template: corev1.PodTemplateSpec{Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{shellContainer("main", "exit 3")},
		}}},
	}
	must(t, cluster.Client().Create(ctx, job))
	await(ctx, t, "the Job has failed", func(ctx context.Context) bool {
		must(t, cluster.Client().Get(ctx, client.ObjectKeyFromObject(job), job))
		return job.Status.Failed == 1
	})
}
