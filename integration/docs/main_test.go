// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"podplane/integration/envoybin"
	"podplane/integration/netns"
	"podplane/integration/servers"
)

// patience bounds what a test waits for. It is long because the machine may be slow.
const patience = 2 * time.Minute

var update = flag.Bool("update", false, "rewrite the generated tables")

// worldVar carries what was built before the machine's network was left.
const worldVar = "PODPLANE_TEST_DOCS_WORLD"

// world is what commands are run with.
type world struct {
	Dir      string // of all files of this run
	Checkout string // a copy of the tree, with its bin
	Tools    string // a folder for PATH
	Envoy    envoybin.Envoy
}

// here is the world of this process; nil where there can be none, for the reason in whyNot.
var (
	here   *world
	whyNot error
)

func TestMain(m *testing.M) {
	flag.Parse()
	if netns.Inside() {
		os.Exit(inside(m))
	}
	if whyNot = netns.Check(); whyNot != nil {
		fmt.Println("SKIP: no commands of the documentation are run:", whyNot)
		os.Exit(run(m))
	}
	os.Exit(outside())
}

func run(m *testing.M) int {
	code := m.Run()
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// outside builds everything, and runs the tests in a network of their own.
func outside() int {
	code, err := func() (int, error) {
		dir, err := os.MkdirTemp("", "podplane-docs-")
		if err != nil {
			return 1, err
		}
		defer func() { _ = os.RemoveAll(dir) }()
		w, err := newWorld(context.Background(), dir)
		if err != nil {
			return 1, err
		}
		data, err := json.Marshal(w)
		if err != nil {
			return 1, err
		}
		return netns.Reexec(worldVar + "=" + string(data))
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// newWorld makes the files: a copy of the tree, its binaries as the README has them built, and programs by their names.
func newWorld(ctx context.Context, dir string) (w world, err error) {
	w = world{Dir: dir, Checkout: filepath.Join(dir, "podplane"), Tools: filepath.Join(dir, "tools")}
	root, err := servers.ModuleDir(ctx)
	if err != nil {
		return w, err
	}
	if w.Envoy, err = envoybin.Find(ctx); err != nil {
		return w, err
	}
	consul, err := servers.Consul().Find()
	if err != nil {
		return w, err
	}
	if err := copyTree(ctx, root, w.Checkout); err != nil {
		return w, fmt.Errorf("copy the tree: %w", err)
	}
	if out, err := command(ctx, w.Checkout, "make", "build"); err != nil {
		return w, fmt.Errorf("make build: %w\n%s", err, out)
	}
	if err := os.Mkdir(w.Tools, 0o755); err != nil {
		return w, err
	}
	for name, path := range map[string]string{"consul": consul, "envoy": w.Envoy.Path} {
		if err := os.Symlink(path, filepath.Join(w.Tools, name)); err != nil {
			return w, err
		}
	}
	return w, nil
}

// inside takes the files of the world and gives it a machine.
func inside(m *testing.M) int {
	here = new(world)
	err := json.Unmarshal([]byte(os.Getenv(worldVar)), here)
	if err == nil {
		_, err = netns.NewBridge("docs", netip.MustParsePrefix("10.88.0.0/24"), here.Dir)
	}
	if err == nil {
		err = here.mount()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("the documentation's commands are run with", here.Envoy)
	return run(m)
}
