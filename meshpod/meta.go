// SPDX-License-Identifier: MPL-2.0

package meshpod

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
)

// Limits of Consul's service meta.
// https://developer.hashicorp.com/consul/docs/reference/service
const (
	maxMetaKey   = 128
	maxMetaValue = 512
	// maxMeta leaves room for what the registrar adds: Consul takes 64.
	maxMeta = 48
)

// reservedMeta are keys by which the registrar, and consul-k8s, know their own.
var reservedMeta = []string{
	"pod-name", "pod-uid", "k8s-namespace", "k8s-service-name", "managed-by", "synthetic-node", "k8s-cluster", "cluster",
}

// tags reads the list of tags, in which \, is a comma.
func (r *reader) tags() []string {
	value, ok := r.text(AnnotationTags)
	if !ok || r.tooMany(AnnotationTags, strings.Count(value, ",")-strings.Count(value, `\,`)+1) {
		return nil
	}
	const comma = "\x00"
	var tags []string
	for tag := range strings.SplitSeq(strings.ReplaceAll(value, `\,`, comma), ",") {
		tag = strings.ReplaceAll(strings.TrimSpace(tag), comma, ",")
		switch {
		case tag == "":
			r.problems.Errorf(AnnotationTags, value, "must not have an empty tag; a comma in a tag is written \\,")
		case !slices.Contains(tags, tag):
			tags = append(tags, tag)
		}
	}
	return tags
}

// meta reads the annotations of which each is one key.
func (r *reader) meta() map[string]string {
	var meta map[string]string
	for _, name := range slices.Sorted(maps.Keys(r.pod.Annotations)) {
		key, ok := strings.CutPrefix(name, AnnotationMetaPrefix)
		if !ok {
			continue
		}
		value := r.pod.Annotations[name]
		switch {
		case key == "" || len(key) > maxMetaKey || !validMetaKey(key):
			r.problems.Errorf(name, value, "must have a key of at most %d letters, digits, - and _ behind %s", maxMetaKey, AnnotationMetaPrefix)
		case slices.Contains(reservedMeta, key) || strings.HasPrefix(key, "consul-"):
			r.problems.Errorf(name, value, "has a key that is reserved")
		case len(value) > maxMetaValue:
			r.problems.Errorf(name, value, "is longer than the %d bytes that Consul takes", maxMetaValue)
		default:
			if meta == nil {
				meta = map[string]string{}
			}
			meta[key] = value
		}
	}
	if len(meta) > maxMeta {
		r.problems.Errorf(AnnotationMetaPrefix+"*", "", "occurs %d times: at most %d are allowed", len(meta), maxMeta)
	}
	return meta
}

func validMetaKey(key string) bool {
	return !strings.ContainsFunc(key, func(c rune) bool {
		return (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_'
	})
}

// proxyConfig reads opaque configuration of the proxy.
func (r *reader) proxyConfig() map[string]any {
	value, ok := r.text(AnnotationProxyConfig)
	if !ok {
		return nil
	}
	var config map[string]any
	if err := decodeJSON(value, &config); err != nil || config == nil {
		r.problems.Errorf(AnnotationProxyConfig, value, "must be a JSON object%s", because(err))
		return nil
	}
	for _, key := range []string{"bind_port", "bind_address", "envoy_prometheus_bind_addr"} {
		if _, there := config[key]; there {
			r.problems.Errorf(AnnotationProxyConfig, key, "must not be set: where the proxy listens follows from the pod's other annotations")
		}
	}
	return config
}

// decodeJSON decodes one document that has only known fields.
func decodeJSON(text string, into any) error {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the document")
	}
	return nil
}

func because(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}
