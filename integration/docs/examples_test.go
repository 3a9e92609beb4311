// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/hcl"
	"sigs.k8s.io/yaml"

	"podplane/selfregister"
)

// TestExamples: what is not a command can at least be read by what it is for, and a service definition loaded.
func TestExamples(t *testing.T) {
	t.Parallel()
	definitions := 0
	for _, page := range commandPages(t) {
		for _, code := range page.Code {
			var err error
			var value any
			switch code.Language {
			case "yaml":
				err = yaml.UnmarshalStrict([]byte(code.Text), &value)
			case "json":
				err = json.Unmarshal([]byte(code.Text), &value)
			case "hcl":
				err = hcl.Decode(&value, code.Text)
			}
			if strings.HasPrefix(code.Text, "service {") {
				definitions++
				path := filepath.Join(t.TempDir(), "service.hcl")
				must(t, os.WriteFile(path, []byte(code.Text), 0o600))
				_, err = selfregister.Load(path)
			}
			if err != nil {
				t.Errorf("%s:%d: %v", page.Path, code.First+1, err)
			}
		}
	}
	if definitions == 0 {
		t.Error("no service definition was found")
	}
}
