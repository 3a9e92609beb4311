// SPDX-License-Identifier: MPL-2.0

package images

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "rewrite golden files")

// root is the module's folder, from this package.
const root = "../.."

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestParsePins(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []Pin
		err  string
	}{
		"comments and order": {"# a\n\nB_IMAGE=b:1\nA_IMAGE=a@sha256:0\n", []Pin{{"B_IMAGE", "b:1"}, {"A_IMAGE", "a@sha256:0"}}, ""},
		"no value":           {"A=\n", nil, "line 1"},
		"no name":            {"\n=a\n", nil, "line 2"},
		"quotes":             {"A=\"a\"\n", nil, "line 1"},
		"variable":           {"A=$B\n", nil, "line 1"},
		"comment behind":     {"A=a # b\n", nil, "line 1"},
		"words":              {"export A=a\n", nil, "line 1"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePins([]byte(tt.text))
			if !slices.Equal(got, tt.want) || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
				t.Errorf("got %v, %v; want %v and an error with %q", got, err, tt.want, tt.err)
			}
		})
	}
}

func TestTheEnvironmentWins(t *testing.T) {
	t.Setenv(Envoy, "registry.example/envoy:1")
	pins, err := ReadPins(root)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := Find(pins, Envoy); got != "registry.example/envoy:1" || err != nil {
		t.Errorf("got %q, %v", got, err)
	}
	if _, err := Find(pins, "NO_IMAGE"); err == nil || !strings.Contains(err.Error(), "NO_IMAGE") {
		t.Errorf("an unknown pin: %v", err)
	}
	if _, err := ReadPins(t.TempDir()); err == nil {
		t.Error("no file is no error")
	}
}

// Every image has its version in versions.env and nowhere else.
func TestPinsAreInOnePlace(t *testing.T) {
	t.Parallel()
	pins, err := ReadPins(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{Envoy, Base, Consul, Prometheus, Curl} {
		image, err := Find(pins, name)
		if err != nil {
			t.Error(err)
		}
		if tag := image[strings.LastIndex(image, "/")+1:]; !strings.Contains(tag, ":") && !strings.Contains(tag, "@") || strings.HasSuffix(tag, ":latest") {
			t.Errorf("%s is not pinned: %s", name, image)
		}
	}
	for _, path := range []string{"Dockerfile", "Makefile", "deploy/compose/compose.yaml", ".goreleaser.yaml"} {
		text := read(t, path)
		for _, pin := range pins {
			image, _, _ := strings.Cut(pin.Image, ":")
			if strings.Contains(text, image+":") {
				t.Errorf("%s repeats the version of %s", path, image)
			}
		}
	}
	for _, line := range regexp.MustCompile(`(?m)^FROM .*$`).FindAllString(read(t, "Dockerfile"), -1) {
		if base := strings.Fields(line)[1]; !strings.HasPrefix(base, "${") && base != "podplane" {
			t.Errorf("the Dockerfile's base is no argument: %s", line)
		}
	}
	if link, err := os.Readlink(filepath.Join(root, "deploy/compose/.env")); link != "../../versions.env" {
		t.Errorf("deploy/compose/.env leads to %q, %v", link, err)
	}
}

// Dependabot reads Dockerfiles, and neither env files nor their arguments.
func TestDependabotsCopy(t *testing.T) {
	t.Parallel()
	pins, err := ReadPins(root)
	if err != nil {
		t.Fatal(err)
	}
	want := "# Written by `make golden` from versions.env, for Dependabot. Nobody builds it.\n"
	for _, pin := range pins {
		want += "FROM " + pin.Image + "\n"
	}
	const path = ".github/images/Dockerfile"
	if *update {
		if err := os.WriteFile(filepath.Join(root, path), []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got := read(t, path); got != want {
		t.Errorf("%s differs from versions.env: put the new versions there, and run `make golden`\ngot:\n%s\nwant:\n%s", path, got, want)
	}
}

// A release is built like `make build`.
func TestReleaseIsBuiltLikeTheRest(t *testing.T) {
	t.Parallel()
	makefile := read(t, "Makefile")
	tags := regexp.MustCompile(`(?m)^GOTAGS := (\S+)$`).FindStringSubmatch(makefile)
	more := regexp.MustCompile(`(?m)^BUILD_TAGS := -tags \$\(GOTAGS\),(\S+)$`).FindStringSubmatch(makefile)
	if tags == nil || more == nil {
		t.Fatal("the Makefile has its build tags elsewhere")
	}
	var release struct {
		Builds []struct {
			ID     string
			Tags   []string
			Goarch []string
			Env    []string
		}
		Dockers []struct {
			ID        string
			Flags     []string
			Platforms []string
		} `json:"dockers_v2"`
	}
	if err := yaml.Unmarshal([]byte(read(t, ".goreleaser.yaml")), &release); err != nil {
		t.Fatal(err)
	}
	var built, images []string
	for _, b := range release.Builds {
		built = append(built, b.ID)
		if got, want := strings.Join(b.Tags, ","), tags[1]+","+more[1]; got != want {
			t.Errorf("build %s has the tags %s, the Makefile %s", b.ID, got, want)
		}
		if !slices.Equal(b.Goarch, []string{"amd64", "arm64"}) || !slices.Contains(b.Env, "CGO_ENABLED=0") {
			t.Errorf("build %s is for %v with %v", b.ID, b.Goarch, b.Env)
		}
	}
	for _, d := range release.Dockers {
		images = append(images, d.ID)
		if !slices.Equal(d.Flags, []string{"--target=" + d.ID}) || len(d.Platforms) != 2 {
			t.Errorf("image %s has %v for %v", d.ID, d.Flags, d.Platforms)
		}
	}
	for _, got := range [][]string{built, images} {
		slices.Sort(got)
		want := targets()
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
}
