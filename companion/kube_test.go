// SPDX-License-Identifier: MPL-2.0

package companion

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
	"k8s.io/client-go/kubernetes/scheme"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kubeAPI keeps objects by path, as much of an API server as a companion without
// a registrar asks for. Integration tests have the real one.
type kubeAPI struct {
	mu      sync.Mutex
	version string
	down    bool
	count   int
	objects map[string]map[string]any
}

const (
	hookPath  = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/podplane-injector"
	leasePath = "/apis/coordination.k8s.io/v1/namespaces/podplane-system/leases/podplane-injector"
)

// newKubeAPI serves, and gives the path of a kubeconfig file.
func newKubeAPI(t *testing.T) (*kubeAPI, string) {
	t.Helper()
	k := &kubeAPI{version: "v1.33.1", objects: map[string]map[string]any{hookPath: {
		"metadata": map[string]any{"name": "podplane-injector", "resourceVersion": "0"},
		"webhooks": []any{map[string]any{"name": "pods", "clientConfig": map[string]any{}}},
	}}}
	server := httptest.NewServer(k)
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	content := fmt.Sprintf(`{"apiVersion":"v1","kind":"Config","current-context":"c",
		"clusters":[{"name":"c","cluster":{"server":%q}}],"contexts":[{"name":"c","context":{"cluster":"c"}}]}`, server.URL)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return k, path
}

func (k *kubeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") != "" {
		if r.URL.Query().Get("sendInitialEvents") != "" {
			status(w, http.StatusUnprocessableEntity, "Invalid")
			return
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	path := r.URL.Path
	switch {
	case k.down:
		status(w, http.StatusServiceUnavailable, "ServiceUnavailable")
	case path == "/version":
		fmt.Fprintf(w, `{"gitVersion":%q}`, k.version)
	case r.Method == http.MethodPost:
		in := body(r)
		path += "/" + in["metadata"].(map[string]any)["name"].(string)
		k.write(w, path, in, http.StatusCreated)
	case r.Method == http.MethodPut:
		k.write(w, path, body(r), http.StatusOK)
	case r.Method == http.MethodPatch: // of the webhook configuration
		in := body(r)
		in["metadata"].(map[string]any)["name"] = "podplane-injector"
		k.write(w, path, in, http.StatusOK)
	case r.URL.Query().Get("fieldSelector") != "":
		_, _ = w.Write([]byte(`{"metadata":{"resourceVersion":"1"},"items":[]}`))
	case k.objects[path] != nil:
		_ = json.NewEncoder(w).Encode(k.objects[path])
	default:
		status(w, http.StatusNotFound, "NotFound")
	}
}

func status(w http.ResponseWriter, code int, reason string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"code":%d}`, reason, code)
}

// body reads an object, or a patch. Clients write objects in protobuf.
func body(r *http.Request) (out map[string]any) {
	data, _ := io.ReadAll(r.Body)
	if object, _, err := scheme.Codecs.UniversalDeserializer().Decode(data, nil, nil); err == nil {
		data, _ = json.Marshal(object)
	}
	_ = json.Unmarshal(data, &out)
	return out
}

// write stores an object under the next version; the lock is held.
func (k *kubeAPI) write(w http.ResponseWriter, path string, object map[string]any, code int) {
	meta := object["metadata"].(map[string]any)
	if before := k.objects[path]; before != nil && before["metadata"].(map[string]any)["resourceVersion"] != meta["resourceVersion"] {
		status(w, http.StatusConflict, "Conflict")
		return
	}
	k.count++
	meta["resourceVersion"] = strconv.Itoa(k.count)
	k.objects[path] = object
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(object)
}

func (k *kubeAPI) setDown(down bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.down = down
}

// discovers has the API server say that it has these kinds, all of them namespaced:
// https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api.
func (k *kubeAPI) discovers(groupVersion string, kinds ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var resources []any
	for _, kind := range kinds {
		resources = append(resources, map[string]any{
			"name": strings.ToLower(kind) + "s", "kind": kind, "namespaced": true, "verbs": []string{"get", "list", "watch"},
		})
	}
	path := "/apis/" + groupVersion
	if group, version, found := strings.Cut(groupVersion, "/"); found {
		named := map[string]any{"groupVersion": groupVersion, "version": version}
		k.objects["/apis"] = map[string]any{"kind": "APIGroupList", "apiVersion": "v1", "groups": []any{
			map[string]any{"name": group, "versions": []any{named}, "preferredVersion": named},
		}}
	} else {
		path = "/api/" + groupVersion
		k.objects["/api"] = map[string]any{"kind": "APIVersions", "versions": []string{groupVersion}}
	}
	k.objects[path] = map[string]any{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": groupVersion, "resources": resources}
}

func (k *kubeAPI) setVersion(version string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.version = version
}

// get is an object as JSON.
func (k *kubeAPI) get(path string) string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out, _ := json.Marshal(k.objects[path])
	return strings.TrimSpace(string(out))
}

// steal gives the lease to another replica.
func (k *kubeAPI) steal(path string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.count++
	k.objects[path]["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(k.count)
	spec := k.objects[path]["spec"].(map[string]any)
	spec["holderIdentity"] = "somebody else"
	spec["renewTime"] = "2999-01-01T00:00:00.000000Z"
}
