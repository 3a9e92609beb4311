// SPDX-License-Identifier: MPL-2.0

package releaseconfig

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goreleaser/goreleaser/v2/pkg/config"
)

const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestConfiguration: goreleaser takes the file, and each part that names builds names some that there are.
func TestConfiguration(t *testing.T) {
	t.Parallel()
	project, err := config.Load(filepath.Join(root, ".goreleaser.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var built []string
	for _, b := range project.Builds {
		built = append(built, b.ID)
	}
	named := map[string][]string{}
	for _, a := range project.Archives {
		named["archive "+a.ID] = a.IDs
	}
	for _, d := range project.DockersV2 {
		named["image "+d.ID] = d.IDs
		for _, file := range d.ExtraFiles {
			if _, err := os.Stat(filepath.Join(root, file)); err != nil {
				t.Errorf("image %s: %v", d.ID, err)
			}
		}
	}
	if len(built) == 0 || len(named) <= len(built) || len(project.SBOMs) == 0 {
		t.Fatalf("there are %d builds, %d archives and images, %d sboms", len(built), len(named), len(project.SBOMs))
	}
	for part, ids := range named {
		if len(ids) == 0 {
			t.Errorf("%s has everything that is built", part)
		}
		for _, id := range ids {
			if !slices.Contains(built, id) {
				t.Errorf("%s names %s, which is not built", part, id)
			}
		}
	}
	for _, a := range project.Archives {
		for _, file := range a.Files {
			if found, err := filepath.Glob(filepath.Join(root, file.Source)); err != nil || len(found) == 0 {
				t.Errorf("archive %s: there is no %s", a.ID, file.Source)
			}
		}
	}
}

// TestMistakesAreSeen: without this a reader that takes everything would go unnoticed.
func TestMistakesAreSeen(t *testing.T) {
	t.Parallel()
	good := read(t, ".goreleaser.yaml")
	for name, bad := range map[string]string{
		"unknown key":      good + "\nnonsense: true\n",
		"wrong type":       strings.Replace(good, "platforms: &platforms [linux/amd64, linux/arm64]", "platforms: &platforms {a: b}", 1),
		"key of version 1": strings.Replace(good, "disable: true #", "skip: true #", 1),
	} {
		if bad == good {
			t.Errorf("%s: the mistake could not be made", name)
		}
		if _, err := config.LoadReader(strings.NewReader(bad)); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestVersions: the workflows run the goreleaser whose reader this is.
func TestVersions(t *testing.T) {
	t.Parallel()
	want := regexp.MustCompile(`goreleaser/v2 (v\S+)`).FindStringSubmatch(read(t, "integration/release/go.mod"))
	if want == nil {
		t.Fatal("go.mod does not name goreleaser")
	}
	for _, path := range []string{".github/workflows/ci.yml", ".github/workflows/release.yml"} {
		used := regexp.MustCompile(`goreleaser-action@.*\n\s+with: \{ version: ([^ ,]+)`).FindAllStringSubmatch(read(t, path), -1)
		if len(used) == 0 {
			t.Errorf("%s does not run goreleaser", path)
		}
		for _, u := range used {
			if u[1] != want[1] {
				t.Errorf("%s runs goreleaser %s, go.mod has %s", path, u[1], want[1])
			}
		}
	}
}
