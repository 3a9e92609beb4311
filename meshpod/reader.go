// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"slices"
	"strconv"
	"strings"
	"unicode"

	corev1 "k8s.io/api/core/v1"
)

// reader reads a pod's annotations and collects what is wrong with them.
type reader struct {
	pod      *corev1.Pod
	defaults Defaults
	problems Problems
}

// text is the annotation without the white space around it; ok says whether it
// is there and not empty.
func (r *reader) text(name string) (value string, ok bool) {
	value = strings.TrimSpace(r.pod.Annotations[name])
	return value, value != ""
}

// boolean reads a switch as Go and consul-k8s do: 1, t, true, 0, f, false, in
// three spellings each.
func (r *reader) boolean(name string, otherwise bool) bool {
	value, ok := r.text(name)
	if !ok {
		return otherwise
	}
	on, err := strconv.ParseBool(value)
	if err != nil {
		r.problems.Errorf(name, value, "must be true or false")
		return otherwise
	}
	return on
}

// number reads a whole number within bounds. The default has the same: what is
// good for one service may not be for another's.
func (r *reader) number(name string, otherwise, least, most int) int {
	value, ok := r.text(name)
	if !ok {
		if otherwise < least || otherwise > most {
			r.problems.Errorf(name, itoa(otherwise), "is the default, and must be a whole number between %d and %d here", least, most)
			return least
		}
		return otherwise
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		r.problems.Errorf(name, value, "must be a whole number between %d and %d", least, most)
		return otherwise
	}
	return n
}

// maxList is how many elements a list may have. An annotation has room for many
// thousands, and work and memory grow with their product with what else a pod has
// many of.
const maxList = 256

// list splits at commas, and drops the white space around the parts.
func (r *reader) list(name string) []string {
	value, ok := r.text(name)
	if !ok || r.tooMany(name, strings.Count(value, ",")+1) {
		return nil
	}
	parts := strings.Split(value, ",")
	for i := range parts {
		parts[i] = strings.TrimSpace(parts[i])
	}
	return parts
}

func (r *reader) tooMany(name string, n int) bool {
	if n > maxList {
		r.problems.Errorf(name, itoa(n)+" elements", "are too many: at most %d are allowed", maxList)
	}
	return n > maxList
}

// urlPath reads what can be the whole path of a request.
func (r *reader) urlPath(name, otherwise string) string {
	value, ok := r.text(name)
	if !ok {
		return otherwise
	}
	if !strings.HasPrefix(value, "/") || strings.ContainsAny(value, "?#{}%\\\"'`$") || !isPlain(value) {
		r.problems.Errorf(name, value, "must be a URL path that starts with / and has no query, quotes, braces or white space")
		return otherwise
	}
	return value
}

// filePath reads an absolute path.
func (r *reader) filePath(name string) string {
	value, ok := r.text(name)
	if !ok {
		return ""
	}
	if !strings.HasPrefix(value, "/") || !isPlain(value) || strings.Contains(value, "$(") {
		r.problems.Errorf(name, value, "must be an absolute path without white space")
		return ""
	}
	return value
}

// isPlain tells whether a text has only ASCII characters that can be seen.
func isPlain(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > unicode.MaxASCII || r == 0x7f })
}

// OwnContainer tells whether a container's name is one of those that the webhook
// gives. What such a container has is not the application's.
func OwnContainer(name string) bool {
	return name == ContainerDataplane || strings.HasPrefix(name, ContainerDataplane+"-") || name == ContainerCompat
}

// appContainers are the pod's own containers that run as long as the pod does:
// ordinary ones, then init containers that keep running.
func appContainers(pod *corev1.Pod) []corev1.Container {
	var out []corev1.Container
	for _, c := range pod.Spec.Containers {
		if !OwnContainer(c.Name) {
			out = append(out, c)
		}
	}
	for _, c := range pod.Spec.InitContainers {
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways && !OwnContainer(c.Name) {
			out = append(out, c)
		}
	}
	return out
}

// portNamed finds a TCP port of the pod's containers by name.
func portNamed(pod *corev1.Pod, name string) (int, bool) {
	for _, c := range appContainers(pod) {
		i := slices.IndexFunc(c.Ports, func(p corev1.ContainerPort) bool { return p.Name == name && isTCP(p) })
		if i >= 0 {
			return int(c.Ports[i].ContainerPort), true
		}
	}
	return 0, false
}

func isTCP(p corev1.ContainerPort) bool {
	return p.Protocol == "" || p.Protocol == corev1.ProtocolTCP
}

const maxPort = 65535

// port reads a port as number or as the name of a container's port.
func (r *reader) port(name, value string) int {
	if n, err := strconv.Atoi(value); err == nil {
		if n < 1 || n > maxPort {
			r.problems.Errorf(name, value, "must be a port between 1 and %d, or the name of a container's port", maxPort)
			return 0
		}
		return n
	}
	if n, ok := portNamed(r.pod, value); ok {
		return n
	}
	r.problems.Errorf(name, value, "is neither a port nor the name of a TCP port of a container; the containers name %s", namedPorts(r.pod))
	return 0
}

// maxNames is about how long a list of names for people may be, in bytes.
const maxNames = 512

func namedPorts(pod *corev1.Pod) string {
	var names []string
	size := 0
	for _, c := range appContainers(pod) {
		for _, p := range c.Ports {
			switch {
			case p.Name == "" || !isTCP(p):
			case size+len(p.Name) > maxNames:
				return strings.Join(append(names, "and more"), ", ")
			default:
				names, size = append(names, p.Name), size+len(p.Name)
			}
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
