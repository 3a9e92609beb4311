// SPDX-License-Identifier: MPL-2.0

package bootstrap

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"

	bootstrapv3 "github.com/envoyproxy/go-control-plane/envoy/config/bootstrap/v3"
	"go.yaml.in/yaml/v3"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// Source says where the bootstrap is. At least one field must be set.
type Source struct {
	Path         string // --config-path
	YAML         string // --config-yaml, merged over what Path holds
	AllowUnknown bool   // --allow-unknown-static-fields
}

const typeName = "envoy.config.bootstrap.v3.Bootstrap"

// ErrNoConfig is Envoy's answer to a command line without a configuration.
var ErrNoConfig = errors.New("At least one of --config-path or --config-yaml or Options::configProto() should be non-empty") //nolint:staticcheck // Envoy's own words

// Load reads, parses and validates a bootstrap. Its errors read as Envoy's do.
func Load(src Source) (*bootstrapv3.Bootstrap, error) {
	if src.Path == "" && src.YAML == "" {
		return nil, ErrNoConfig
	}
	result := &bootstrapv3.Bootstrap{}
	if src.Path != "" {
		if err := loadFile(src, result); err != nil {
			return nil, err
		}
	}
	if src.YAML != "" {
		overlay := &bootstrapv3.Bootstrap{}
		if err := parseYAML([]byte(src.YAML), overlay, src.AllowUnknown); err != nil {
			return nil, err
		}
		proto.Merge(result, overlay)
	}
	if err := result.ValidateAll(); err != nil {
		return nil, fmt.Errorf("Proto constraint validation failed (%w)", err) //nolint:staticcheck // Envoy's own words
	}
	return result, nil
}

func loadFile(src Source, into *bootstrapv3.Bootstrap) error {
	if illegal(src.Path) {
		return fmt.Errorf("Invalid path: %s", src.Path) //nolint:staticcheck // Envoy's own words
	}
	data, err := os.ReadFile(src.Path)
	if err != nil {
		return fmt.Errorf("unable to read file: %s: %w", src.Path, err)
	}
	switch path.Ext(src.Path) {
	case ".pb":
		return unreadable(proto.Unmarshal(data, into), src.Path)
	case ".pb_text":
		return unreadable(prototext.Unmarshal(data, into), src.Path)
	case ".yaml", ".yml":
		return parseYAML(data, into, src.AllowUnknown)
	default:
		return parseJSON(data, into, src.AllowUnknown)
	}
}

func unreadable(err error, file string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("Unable to parse file \"%s\" as %s: %w", file, typeName, err) //nolint:staticcheck // Envoy's own words
}

// illegal tells the paths that Envoy refuses to read: everything below /dev,
// /proc and /sys but descriptors. Source: source/common/filesystem/posix.
func illegal(name string) bool {
	clean := path.Clean(name)
	if clean == "/dev/fd" || strings.HasPrefix(clean, "/dev/fd/") {
		return false
	}
	for _, root := range []string{"/dev", "/proc", "/sys"} {
		if clean == root || strings.HasPrefix(clean, root+"/") {
			return true
		}
	}
	return false
}

func parseJSON(data []byte, into *bootstrapv3.Bootstrap, allowUnknown bool) error {
	options := protojson.UnmarshalOptions{DiscardUnknown: allowUnknown}
	err := options.Unmarshal(data, into)
	if err != nil && strings.Contains(err.Error(), "unexpected token") {
		if relaxed, broken := lenient(data, into.ProtoReflect().Descriptor()); broken == nil {
			err = options.Unmarshal(relaxed, into)
		}
	}
	switch {
	case err == nil:
		return nil
	case strings.Contains(err.Error(), "unknown field"):
		return fmt.Errorf("Protobuf message (type %s reason INVALID_ARGUMENT: %w) has unknown fields", typeName, err) //nolint:staticcheck // Envoy's own words
	default:
		return fmt.Errorf("Unable to parse JSON as proto (INVALID_ARGUMENT: %w)", err) //nolint:staticcheck // Envoy's own words
	}
}

// parseYAML goes through JSON, as Envoy does; what is JSON already takes the
// short way.
func parseYAML(data []byte, into *bootstrapv3.Bootstrap, allowUnknown bool) error {
	if json.Valid(data) {
		return parseJSON(data, into, allowUnknown)
	}
	var tree map[string]any
	if err := yaml.Unmarshal(data, &tree); err != nil {
		return fmt.Errorf("Unable to convert YAML as JSON: %w", err) //nolint:staticcheck // Envoy's own words
	}
	converted, err := json.Marshal(tree)
	if err != nil {
		return fmt.Errorf("Unable to convert YAML as JSON: %w", err) //nolint:staticcheck // Envoy's own words
	}
	return parseJSON(converted, into, allowUnknown)
}
