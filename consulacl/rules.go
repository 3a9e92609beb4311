// SPDX-License-Identifier: MPL-2.0

package consulacl

import (
	"fmt"
	"strings"
)

// rules is the companion's policy, in Consul's language:
// https://developer.hashicorp.com/consul/docs/reference/acl/rule. It registers
// synthetic nodes, any service and its checks. Deleting tokens takes
// acl = "write", which is as good as everything: it is there only if asked for.
func rules(cfg Config) string {
	var b strings.Builder
	indent := ""
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(&b, indent+format+"\n", args...) }
	write := func(resource string) {
		line(`%s "" {`, resource)
		line(`  policy = "write"`)
		line(`}`)
	}
	t := cfg.Tenancy
	if t.Namespaces && t.Partition == "" {
		line(`operator = "write"`) // creates namespaces
	}
	if t.Partition != "" {
		line("partition %q {", t.Partition)
		indent += "  "
	}
	if cfg.TokenCleanup {
		line(`acl = "write"`)
	}
	write("node_prefix")
	if t.Namespaces {
		line(`namespace_prefix "" {`)
		indent += "  "
		line(`policy = "write"`)
		if cfg.TokenCleanup {
			line(`acl = "write"`)
		}
		write("node_prefix")
	}
	write("service_prefix")
	for indent != "" {
		indent = indent[2:]
		line("}")
	}
	return b.String()
}
