// SPDX-License-Identifier: MPL-2.0

package images

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PinsFile is the file with the pinned versions, from the module's root.
const PinsFile = "versions.env"

// The names of the pinned images.
const (
	Envoy      = "ENVOY_IMAGE"
	Base       = "BASE_IMAGE"
	Consul     = "CONSUL_IMAGE"
	Prometheus = "PROMETHEUS_IMAGE"
	Curl       = "CURL_IMAGE"
)

// Pin is one image and its version.
type Pin struct{ Name, Image string }

// ReadPins reads the pins of the module in root, in the file's order. A variable of the environment with a pin's name
// wins. Lines that Make, compose and a shell would not all read alike are errors.
func ReadPins(root string) ([]Pin, error) {
	path := filepath.Join(root, PinsFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read pins: %w", err)
	}
	pins, err := parsePins(data)
	if err != nil {
		return nil, fmt.Errorf("read pins: %s: %w", path, err)
	}
	for i, pin := range pins {
		if image := os.Getenv(pin.Name); image != "" {
			pins[i].Image = image
		}
	}
	return pins, nil
}

func parsePins(data []byte) ([]Pin, error) {
	var pins []Pin
	lines := bufio.NewScanner(bytes.NewReader(data))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, image, ok := strings.Cut(line, "=")
		if !ok || name == "" || image == "" || strings.ContainsAny(line, " \t\"'$\\#") {
			return nil, fmt.Errorf("line %d: %q is not NAME=IMAGE without spaces, quotes and variables", n, line)
		}
		pins = append(pins, Pin{Name: name, Image: image})
	}
	return pins, lines.Err()
}

// Find gives the image with the name, or an error that lists what there is.
func Find(pins []Pin, name string) (string, error) {
	names := make([]string, 0, len(pins))
	for _, pin := range pins {
		if pin.Name == name {
			return pin.Image, nil
		}
		names = append(names, pin.Name)
	}
	return "", fmt.Errorf("%s has no %s, only %s", PinsFile, name, strings.Join(names, ", "))
}
