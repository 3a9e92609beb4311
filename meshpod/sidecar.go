// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"slices"
	"strings"

	"github.com/google/shlex"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

const maxConcurrency = 1024

// sidecar reads how the dataplane's container looks.
func (r *reader) sidecar(p *Pod) {
	p.Sidecar = Sidecar{
		Concurrency: r.number(AnnotationConcurrency, r.defaults.Concurrency, 0, maxConcurrency),
		ExtraArgs:   r.extraArgs(),
		Resources:   r.resources(),
		MountVolume: r.list(AnnotationMountVolume),
	}
	if _, ok := r.text(AnnotationNative); ok {
		native := r.boolean(AnnotationNative, false)
		p.Sidecar.Native = &native
	}
	if value, ok := r.text(AnnotationUserVolume); ok {
		if err := decodeJSON(value, &p.Sidecar.Volumes); err != nil {
			r.problems.Errorf(AnnotationUserVolume, value, "must be a JSON array of volumes as in a pod%s", because(err))
		}
	}
	if value, ok := r.text(AnnotationUserMount); ok {
		if err := decodeJSON(value, &p.Sidecar.Mounts); err != nil {
			r.problems.Errorf(AnnotationUserMount, value, "must be a JSON array of volume mounts as in a container%s", because(err))
		}
	}
}

// resources reads requests and limits, each over its default.
func (r *reader) resources() corev1.ResourceRequirements {
	out := *r.defaults.Resources.DeepCopy()
	for _, a := range []struct {
		name string
		list *corev1.ResourceList
		kind corev1.ResourceName
	}{
		{AnnotationCPURequest, &out.Requests, corev1.ResourceCPU},
		{AnnotationCPULimit, &out.Limits, corev1.ResourceCPU},
		{AnnotationMemoryRequest, &out.Requests, corev1.ResourceMemory},
		{AnnotationMemoryLimit, &out.Limits, corev1.ResourceMemory},
	} {
		value, ok := r.text(a.name)
		if !ok {
			continue
		}
		quantity, err := resource.ParseQuantity(value)
		if err != nil || quantity.Sign() < 0 {
			r.problems.Errorf(a.name, value, "must be a quantity that is not negative, such as 100m or 64Mi")
			continue
		}
		if *a.list == nil {
			*a.list = corev1.ResourceList{}
		}
		(*a.list)[a.kind] = quantity
	}
	for _, kind := range []struct {
		resource corev1.ResourceName
		name     string
	}{{corev1.ResourceCPU, AnnotationCPURequest}, {corev1.ResourceMemory, AnnotationMemoryRequest}} {
		request, hasRequest := out.Requests[kind.resource]
		limit, hasLimit := out.Limits[kind.resource]
		if hasRequest && hasLimit && request.Cmp(limit) > 0 {
			r.problems.Errorf(kind.name, request.String(), "is more than the limit of %s", limit.String())
		}
	}
	return out
}

// refusedArgs are Envoy's options that would make it another proxy than the one
// that the pod is, or no proxy at all, that write files, or that podplane decides.
// https://www.envoyproxy.io/docs/envoy/latest/operations/cli
var refusedArgs = map[string]string{
	"-c":                              wouldReplace,
	"--config-path":                   wouldReplace,
	"--config-yaml":                   "would change the proxy's configuration: " + AnnotationProxyConfig + " can add to it",
	"--config-proto":                  wouldReplace,
	"--service-node":                  wouldRename,
	"--service-cluster":               wouldRename,
	"--service-zone":                  wouldRename,
	"--mode":                          wouldEnd,
	"--version":                       wouldEnd,
	"--help":                          wouldEnd,
	"-h":                              wouldEnd,
	"--hot-restart-version":           wouldEnd,
	"--restart-epoch":                 wouldEnd,
	"--admin-address-path":            writes,
	"--base-id-path":                  writes,
	"--log-path":                      writes,
	"--enable-core-dump":              "writes the proxy's keys to disk when it crashes",
	"--use-dynamic-base-id":           isOurs,
	"--base-id":                       isOurs,
	"--socket-path":                   isOurs,
	"--socket-mode":                   isOurs,
	"--parent-shutdown-time-s":        isOurs,
	"--skip-hot-restart-on-no-parent": isOurs,
	"--skip-hot-restart-parent-stats": isOurs,
	"--concurrency":                   isOurs + ": use " + AnnotationConcurrency,
	"--ignore_rest":                   "keeps Envoy from reading what follows",
}

const (
	wouldReplace = "would replace the proxy's configuration"
	wouldRename  = "would make it another proxy"
	wouldEnd     = "would keep Envoy from serving"
	writes       = "writes into the file system, which is read-only"
	isOurs       = "is decided by the dataplane"
)

// extraArgs splits the line as a shell would, without being one.
func (r *reader) extraArgs() []string {
	line, ok := r.text(AnnotationExtraArgs)
	if !ok {
		line = r.defaults.ExtraArgs
	}
	args, err := shlex.Split(line)
	if err != nil {
		r.problems.Errorf(AnnotationExtraArgs, line, "must be arguments that can be split as in a shell%s", because(err))
		return nil
	}
	if r.tooMany(AnnotationExtraArgs, len(args)) {
		return nil
	}
	for i, arg := range args {
		name := arg
		if i := strings.IndexAny(arg, "= "); i >= 0 { // a space within an argument ends an option's name for Envoy, too
			name = arg[:i]
		}
		if i == 0 && !strings.HasPrefix(arg, "-") || arg == "--" || arg == "-" {
			r.problems.Errorf(AnnotationExtraArgs, arg, "must be an option of Envoy, which begins with -")
		}
		if reason, refused := refusedArgs[name]; refused {
			r.problems.Errorf(AnnotationExtraArgs, arg, "is not allowed: it %s", reason)
		}
		if strings.ContainsRune(arg, 0) {
			r.problems.Errorf(AnnotationExtraArgs, arg, "must not have a zero byte")
		}
	}
	return slices.Clip(args)
}
