// SPDX-License-Identifier: MPL-2.0

package kubelet

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// The cases are those of https://pkg.go.dev/k8s.io/kubernetes/third_party/forked/golang/expansion.
func TestExpand(t *testing.T) {
	t.Parallel()
	env := []corev1.EnvVar{{Name: "A", Value: "old"}, {Name: "A", Value: "new"}, {Name: "EMPTY"}, {Name: "REF", Value: "$(A)"}}
	for text, want := range map[string]string{
		"plain":      "plain",
		"$(A)":       "new",
		"$(A)$(A)":   "newnew",
		"x$(EMPTY)y": "xy",
		"$(NOBODY)":  "$(NOBODY)",
		"$$(A)":      "$(A)",
		"$$$(A)":     "$new",
		"$$$$":       "$$",
		"$(REF)":     "$(A)", // values are not looked at again
		"$(A":        "$(A",
		"$A ${A}":    "$A ${A}",
		"end $":      "end $",
	} {
		if got := expand(text, env); got != want {
			t.Errorf("%q becomes %q, not %q", text, got, want)
		}
	}
}

func TestResourceField(t *testing.T) {
	t.Parallel()
	c := &corev1.Container{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{
		"cpu": resource.MustParse("1500m"), "memory": resource.MustParse("64Mi"),
	}}}
	tests := map[string]struct{ name, divisor, want string }{
		"cpu in whole units":  {"limits.cpu", "", "2"},
		"cpu in milliunits":   {"limits.cpu", "1m", "1500"},
		"memory in bytes":     {"limits.memory", "1", "67108864"},
		"memory in mebibytes": {"limits.memory", "1Mi", "64"},
		"none":                {"requests.cpu", "", "0"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ref := &corev1.ResourceFieldSelector{Resource: tt.name}
			if tt.divisor != "" {
				ref.Divisor = resource.MustParse(tt.divisor)
			}
			if got := resourceField(c, ref); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestCommand(t *testing.T) {
	t.Parallel()
	image := Image{Entrypoint: []string{"/app"}, Cmd: []string{"-default"}}
	tests := map[string]struct{ command, args, want []string }{
		"the image's":              {nil, nil, []string{"/app", "-default"}},
		"args replace Cmd":         {nil, []string{"-x"}, []string{"/app", "-x"}},
		"command replaces both":    {[]string{"/other"}, nil, []string{"/other"}},
		"command and args":         {[]string{"/other"}, []string{"-x"}, []string{"/other", "-x"}},
		"variables are replaced":   {[]string{"/other"}, []string{"$(NAME)"}, []string{"/other", "value"}},
		"a shell's are not":        {[]string{"/bin/sh"}, []string{"$NAME"}, []string{"/bin/sh", "$NAME"}},
		"the image's list is kept": {nil, []string{"$(NAME)"}, []string{"/app", "value"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &run{spec: &corev1.Container{Command: tt.command, Args: tt.args}}
			got, err := c.command(image, []corev1.EnvVar{{Name: "NAME", Value: "value"}})
			if err != nil || len(got) != len(tt.want) {
				t.Fatalf("got %q, %v, want %q", got, err, tt.want)
			}
			for i := range got {
				if got[i] != tt.want[i] {
					t.Errorf("got %q, want %q", got, tt.want)
				}
			}
		})
	}
	if got, err := (&run{spec: &corev1.Container{}}).command(Image{}, nil); err == nil {
		t.Errorf("no command became %q", got)
	}
}
