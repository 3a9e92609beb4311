// SPDX-License-Identifier: MPL-2.0

package injector

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"podplane/meshpod"
)

// FuzzMutate: whatever the pod, deciding does not panic; the patch applies, loses
// nothing of the user's, and makes a pod that is left alone the next time, and
// whose dataplanes read their settings.
func FuzzMutate(f *testing.F) {
	inputs, err := filepath.Glob(filepath.Join("testdata", "*.input.yaml"))
	if err != nil || len(inputs) == 0 {
		f.Fatal("there are no seeds", err)
	}
	for i, path := range inputs {
		data, err := os.ReadFile(path)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := yaml.YAMLToJSON(data)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(raw), "", "", uint8(i))
	}
	f.Add(`{"metadata":{"name":"a","x":[1]},"spec":{"new":{"y":null},"containers":[{"name":"a","env":null,"z":1e2}]}}`,
		meshpod.AnnotationExtraArgs, "-l debug", uint8(7))
	f.Fuzz(func(t *testing.T, text, name, value string, options uint8) {
		raw, ok := sent(text, name, value)
		if !ok {
			return
		}
		cfg := fuzzConfig(options)
		r, err := Mutate(raw, testNamespace, &cfg)
		if err != nil || len(r.Patch) == 0 {
			return
		}
		if r.Refusal != "" {
			t.Fatalf("a patch and a refusal: %s", r.Refusal)
		}
		after := apply(t, raw, r)
		again, err := Mutate(after, testNamespace, &cfg)
		if err != nil || len(again.Patch) > 0 || again.Refusal != "" || len(again.Warnings) > 0 {
			t.Fatalf("the second time: %v, %+v", err, again)
		}
		var was, is any
		mustDecode(t, raw, &was)
		mustDecode(t, after, &is)
		if path, lost := missing(was, is, ""); lost {
			t.Fatalf("%s is lost or changed\nbefore %s\nafter  %s", path, raw, after)
		}
		var pod corev1.Pod
		mustDecode(t, after, &pod)
		for _, c := range dataplanes(&pod) {
			load(t, &pod, c)
		}
	})
}

// sent makes a pod of the fuzzer's text as an API server would send it: one that it
// can decode, in JSON that was encoded from what was decoded.
func sent(text, name, value string) ([]byte, bool) {
	var tree map[string]any
	var pod corev1.Pod
	if json.Unmarshal([]byte(text), &tree) != nil || json.Unmarshal([]byte(text), &pod) != nil {
		return nil, false
	}
	if meta, ok := tree["metadata"].(map[string]any); ok && name != "" {
		annotations, ok := meta["annotations"].(map[string]any)
		if !ok {
			annotations = map[string]any{}
			meta["annotations"] = annotations
		}
		annotations[meshpod.AnnotationInject] = "true"
		annotations[name] = value
	}
	raw, err := json.Marshal(tree)
	// Of names, which are validated after admission, those that cannot be part of an ID are not of interest.
	strange := func(c rune) bool { return c <= ' ' || c == 0x7f }
	return raw, err == nil && json.Unmarshal(raw, &pod) == nil && !strings.ContainsFunc(pod.Name+pod.GenerateName, strange)
}

func fuzzConfig(options uint8) Config {
	cfg := newConfig()
	bit := func(n int) bool { return options&(1<<n) != 0 }
	cfg.Native, cfg.DefaultInject = !bit(0), bit(1)
	if bit(2) {
		cfg.Login = Login{AuthMethod: "podplane"}
	}
	if bit(3) {
		cfg.Consul.TLSDisabled, cfg.Consul.CA = false, testCA
	}
	cfg.Compat = bit(4)
	cfg.Defaults.Metrics, cfg.Defaults.MetricsMerging = bit(5), bit(5)
	if bit(6) {
		cfg.Destination, cfg.Partition = meshpod.Destination{Enabled: true, Mirror: true}, "p"
	}
	return cfg
}

func mustDecode(t *testing.T, data []byte, into any) {
	t.Helper()
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatal(err)
	}
}

// missing finds what is in was and not in is. A list may have more elements, with
// those of before in their order.
func missing(was, is any, path string) (string, bool) {
	switch was := was.(type) {
	case map[string]any:
		is, ok := is.(map[string]any)
		if !ok {
			return path, len(was) > 0
		}
		for key, value := range was {
			if mark := meshpod.LabelManagedBy; key == mark && strings.HasSuffix(path, "labels") {
				continue
			}
			if at, lost := missing(value, is[key], path+"/"+key); lost {
				return at, true
			}
		}
		return "", false
	case []any:
		is, _ := is.([]any)
		for _, element := range was {
			at, lost := path, true
			for len(is) > 0 && lost {
				at, lost = missing(element, is[0], path+"[]")
				is = is[1:]
			}
			if lost {
				return at, true
			}
		}
		return "", false
	case nil:
		return "", false
	case string:
		// Marks that say nothing may be written over.
		return path, was != "" && !reflect.DeepEqual(was, is)
	default:
		return path, !reflect.DeepEqual(was, is)
	}
}
