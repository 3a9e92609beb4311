// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"fmt"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/json"

	"podplane/meshpod"
)

// Result is what becomes of a pod. The zero value leaves it alone.
type Result struct {
	// Patch is a JSON patch (RFC 6902) of additions; empty leaves the pod as it is.
	Patch []byte
	// Refusal names everything for which the pod must not run as it is; empty if
	// it may.
	Refusal string
	// Warnings are for whoever makes the pod.
	Warnings []string
}

// Mutate decides on a pod that is going to be created. The pod is JSON as the API
// server sends it; namespace is the request's, because the object may leave it
// out. The error means that the pod cannot be read.
func Mutate(pod []byte, namespace string, cfg *Config) (Result, error) {
	m := &mutation{namespace: namespace, cfg: cfg.withDefaults()}
	if err := json.UnmarshalCaseSensitivePreserveInts(pod, &m.pod); err != nil {
		return Result{}, fmt.Errorf("read pod: %w", err)
	}
	v := decide(&m.pod, namespace, &m.cfg, &m.problems)
	if !v.inject {
		if v.why != "" {
			m.problems.Warnf(meshpod.AnnotationInject, m.pod.Annotations[meshpod.AnnotationInject], "has no effect: %s", v.why)
		}
		return m.result()
	}
	if n := containersOf(&m.pod); n > maxContainers {
		m.problems.Errorf("spec.containers", strconv.Itoa(n)+" containers",
			"are too many for a pod of the mesh: at most %d are allowed", maxContainers)
		return m.result()
	}
	m.read()
	if m.problems.Err() == nil {
		m.write()
	}
	return m.result()
}

// maxContainers bounds the work for a pod, much of which is for each container.
const maxContainers = 1 << 10

func containersOf(pod *corev1.Pod) int {
	return len(pod.Spec.InitContainers) + len(pod.Spec.Containers)
}

// mutation is the work on one pod.
type mutation struct {
	pod       corev1.Pod
	namespace string
	cfg       Config

	mesh     meshpod.Pod
	native   bool
	names    []string // of the dataplanes' containers, by service
	problems meshpod.Problems
	patch    patch
}

// read finds out what the pod asks for, and all that is wrong with it.
func (m *mutation) read() {
	var found meshpod.Problems
	m.mesh, found = meshpod.Parse(&m.pod, m.cfg.Defaults)
	m.problems.Errors = append(m.problems.Errors, found.Errors...)
	m.problems.Warnings = append(m.problems.Warnings, found.Warnings...)
	m.native = m.cfg.Native
	if m.mesh.Sidecar.Native != nil {
		m.native = *m.mesh.Sidecar.Native
	}
	if m.native && m.cfg.NativeMissing != "" {
		// Taken for an ordinary init container, it would never end, and the pod never start.
		m.problems.Errorf(meshpod.AnnotationNative, m.pod.Annotations[meshpod.AnnotationNative], "cannot be had: %s", m.cfg.NativeMissing)
	}
	m.names = containerNames(m.mesh.Services)
	m.check()
}

// write makes the patch. What changes the pod's own containers comes first, while
// they still have the places at which they were found.
func (m *mutation) write() {
	m.applications()
	behind(&m.patch, "/spec/volumes", len(m.pod.Spec.Volumes), m.volumes())
	var first, sidecars []corev1.Container
	if m.cfg.Compat {
		first = append(first, m.idWriter())
	}
	for _, s := range m.mesh.Services {
		sidecars = append(sidecars, m.dataplane(s))
	}
	if m.native {
		first = append(first, sidecars...)
	} else {
		before(&m.patch, "/spec/containers", len(m.pod.Spec.Containers), sidecars)
	}
	before(&m.patch, "/spec/initContainers", len(m.pod.Spec.InitContainers), first)
	m.patch.entries("/metadata/annotations", m.pod.Annotations, m.annotations())
	m.patch.entries("/metadata/labels", m.pod.Labels, map[string]string{
		meshpod.LabelInjectStatus: meshpod.StatusInjected,
		meshpod.LabelManagedBy:    meshpod.ManagedBy,
	})
}

// maxTold is how many problems of a kind are told, and maxLine how long each may
// be, in bytes.
const maxTold, maxLine = 32, 1 << 10

// tell puts problems into words, as many as people read.
func tell(problems []meshpod.Problem) []string {
	var lines []string
	for _, p := range problems[:min(len(problems), maxTold)] {
		line := p.String()
		if len(line) > maxLine {
			line = strings.ToValidUTF8(line[:maxLine], "") + "…"
		}
		lines = append(lines, line)
	}
	if more := len(problems) - maxTold; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return lines
}

func (m *mutation) result() (Result, error) {
	r := Result{Warnings: tell(m.problems.Warnings)}
	if len(m.problems.Errors) > 0 {
		r.Refusal = "the pod cannot join the mesh: " + strings.Join(tell(m.problems.Errors), "; ")
		return r, nil
	}
	if len(m.patch.operations) == 0 {
		return r, nil
	}
	var err error
	if r.Patch, err = m.patch.encode(); err != nil {
		return Result{}, fmt.Errorf("encode patch: %w", err)
	}
	return r, nil
}
