// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"reflect"
	"strings"
	"testing"
)

// FuzzParse gives one annotation any value: nothing panics, the pod stays as it
// is, the answer is always the same, and what passes is fit for Consul.
func FuzzParse(f *testing.F) {
	for i := range known {
		for _, value := range []string{
			"", "true", "8080", "a:1,b.svc.n.ns.p.peer:2", "prepared_query:x:1:dc", `[{"name":"x"}]`, `{"a":1}`, "--log-level debug 'x", "$(POD_NAME)",
			"a,b\\,c", "/path", "x:1:local_bind_address=[::1]", "\x00\xff",
		} {
			f.Add(uint8(i), value)
		}
	}
	f.Fuzz(func(t *testing.T, which uint8, value string) {
		pod := newPod(map[string]string{known[int(which)%len(known)]: value})
		before := pod.DeepCopy()
		p, problems := Parse(pod, Standard())
		if !reflect.DeepEqual(pod, before) {
			t.Fatal("the pod was changed")
		}
		again, problemsAgain := Parse(pod, Standard())
		if !reflect.DeepEqual(problems, problemsAgain) || !reflect.DeepEqual(p, again) {
			t.Fatalf("first %+v %+v, then %+v %+v", p, problems, again, problemsAgain)
		}
		if problems.Err() != nil {
			return
		}
		for _, s := range p.Services {
			if s.Name != "" && !validServiceName(s.Name) || s.Port < 0 || s.Port > maxPort {
				t.Errorf("service %+v", s)
			}
		}
		for _, u := range p.Upstreams {
			if !validServiceName(u.Name) || u.LocalPort < 1 || strings.Trim(u.Variable(), "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") != "" {
				t.Errorf("upstream %+v", u)
			}
		}
	})
}
