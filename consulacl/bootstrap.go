// SPDX-License-Identifier: MPL-2.0

package consulacl

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
)

// Config says what to make. All texts are required unless their comment says otherwise.
type Config struct {
	// Consul is a client whose token has acl = "write".
	Consul *api.Client
	// AuthMethod, Policy and Role are the objects' names.
	AuthMethod, Policy, Role string
	// Namespace and ServiceAccount are the companion's own in Kubernetes.
	Namespace, ServiceAccount string
	// Selector says which ServiceAccounts may log in as the service of their name,
	// which the companion's own never may. Defaults to DefaultSelector.
	Selector string
	// MaxTokenTTL is the life of what a login gives; 0 is forever.
	MaxTokenTTL time.Duration
	// KubernetesHost, KubernetesCA (PEM) and ReviewerToken tell Consul how to ask
	// the API server about a bearer token.
	KubernetesHost, KubernetesCA, ReviewerToken string
	// TokenCleanup lets the companion delete tokens of pods that are gone.
	TokenCleanup bool
	// Tenancy is Consul Enterprise's; the zero value is the community edition.
	Tenancy Tenancy
}

// DefaultSelector leaves out the ServiceAccount "default", which all pods share
// that ask for none: each of them would be the same service.
const DefaultSelector = "serviceaccount.name!=default"

// Tenancy says where things are in Consul Enterprise.
type Tenancy struct {
	// Namespaces says that Consul has them. Namespace is that of the auth method.
	Namespaces bool
	Namespace  string
	// Mirror maps Kubernetes namespaces to those of the same name behind Prefix.
	Mirror bool
	Prefix string
	// Partition is the admin partition; may be empty.
	Partition string
}

// Step is what was done about one object.
type Step struct {
	// Kind and Name say which object.
	Kind, Name string
	// Created tells that it was made. Changed are the fields that were repaired.
	// With neither it was as it should be.
	Created bool
	Changed []string
}

// String is a sentence for people.
func (s Step) String() string {
	what := s.Kind + " " + s.Name
	switch {
	case s.Created:
		return what + ": created"
	case len(s.Changed) > 0:
		return what + ": repaired " + strings.Join(s.Changed, ", ")
	default:
		return what + ": unchanged"
	}
}

// The descriptions by which binding rules are found again.
const (
	rulePods      = "podplane: a service account is the service of its name"
	ruleCompanion = "podplane: the service account of podplane-injector"
)

// Bootstrap makes what is missing and repairs what differs. It returns what it
// did, also with an error: what was done before it.
func Bootstrap(ctx context.Context, cfg Config) ([]Step, error) {
	if cfg.Consul == nil {
		return nil, errors.New("consulacl: there is no client")
	}
	b := &bootstrap{cfg: cfg, acl: cfg.Consul.ACL()}
	b.read = (&api.QueryOptions{RequireConsistent: true, Partition: cfg.Tenancy.Partition, Namespace: b.namespace()}).WithContext(ctx)
	b.write = (&api.WriteOptions{Partition: cfg.Tenancy.Partition, Namespace: b.namespace()}).WithContext(ctx)
	for _, do := range []struct {
		what string
		make func() error
	}{
		{"policy " + cfg.Policy, b.policy},
		{"role " + cfg.Role, b.role},
		{"auth method " + cfg.AuthMethod, b.authMethod},
		{"binding rules of " + cfg.AuthMethod, b.rules},
	} {
		if err := do.make(); err != nil {
			return b.steps, fmt.Errorf("bootstrap acls: %s: %w", do.what, err)
		}
	}
	return b.steps, nil
}

type bootstrap struct {
	cfg   Config
	acl   *api.ACL
	read  *api.QueryOptions
	write *api.WriteOptions
	steps []Step
}

// namespace is the auth method's, where Consul has namespaces.
func (b *bootstrap) namespace() string {
	switch t := b.cfg.Tenancy; {
	case !t.Namespaces:
		return ""
	case t.Mirror || t.Namespace == "":
		return "default"
	default:
		return t.Namespace
	}
}

func (b *bootstrap) done(s Step) { b.steps = append(b.steps, s) }

func (b *bootstrap) policy() error {
	want := &api.ACLPolicy{
		Name: b.cfg.Policy, Description: "podplane-injector: register the pods of a Kubernetes cluster",
		Rules: rules(b.cfg), Partition: b.cfg.Tenancy.Partition, Namespace: b.namespace(),
	}
	got, err := absent(b.acl.PolicyReadByName(b.cfg.Policy, b.read))
	switch {
	case err != nil:
		return err
	case got == nil:
		_, _, err = b.acl.PolicyCreate(want, b.write)
		b.madeIf(err, "policy", b.cfg.Policy)
		return err
	}
	changed := differ(field{"rules", got.Rules != want.Rules}, field{"description", got.Description != want.Description},
		field{"datacenters", len(got.Datacenters) > 0})
	if len(changed) > 0 {
		want.ID = got.ID
		_, _, err = b.acl.PolicyUpdate(want, b.write)
	}
	return b.keptIf(err, "policy", b.cfg.Policy, changed)
}

func (b *bootstrap) role() error {
	want := &api.ACLRole{
		Name: b.cfg.Role, Description: "podplane-injector", Policies: []*api.ACLRolePolicyLink{{Name: b.cfg.Policy}},
		Partition: b.cfg.Tenancy.Partition, Namespace: b.namespace(),
	}
	got, err := absent(b.acl.RoleReadByName(b.cfg.Role, b.read))
	switch {
	case err != nil:
		return err
	case got == nil:
		_, _, err = b.acl.RoleCreate(want, b.write)
		b.madeIf(err, "role", b.cfg.Role)
		return err
	}
	samePolicies := len(got.Policies) == 1 && got.Policies[0].Name == b.cfg.Policy
	changed := differ(field{"policies", !samePolicies}, field{"description", got.Description != want.Description},
		field{"service identities", len(got.ServiceIdentities) > 0}, field{"node identities", len(got.NodeIdentities) > 0},
		field{"templated policies", len(got.TemplatedPolicies) > 0})
	if len(changed) > 0 {
		want.ID = got.ID
		_, _, err = b.acl.RoleUpdate(want, b.write)
	}
	return b.keptIf(err, "role", b.cfg.Role, changed)
}

func (b *bootstrap) authMethod() error {
	want := b.wantedMethod()
	got, err := absent(b.acl.AuthMethodRead(b.cfg.AuthMethod, b.read))
	switch {
	case err != nil:
		return err
	case got == nil:
		_, _, err = b.acl.AuthMethodCreate(want, b.write)
		b.madeIf(err, "auth method", b.cfg.AuthMethod)
		return err
	case got.Type != want.Type:
		return fmt.Errorf("exists with type %s: choose another name, or delete it", got.Type)
	}
	changed := differ(field{"description", got.Description != want.Description}, field{"max token TTL", got.MaxTokenTTL != want.MaxTokenTTL})
	for _, key := range slices.Sorted(maps.Keys(want.Config)) {
		if !same(got.Config[key], want.Config[key]) {
			changed = append(changed, key)
		}
	}
	if len(changed) > 0 {
		_, _, err = b.acl.AuthMethodUpdate(want, b.write)
	}
	return b.keptIf(err, "auth method", b.cfg.AuthMethod, changed)
}

// wantedMethod is the auth method of type kubernetes:
// https://developer.hashicorp.com/consul/docs/security/acl/auth-methods/kubernetes.
func (b *bootstrap) wantedMethod() *api.ACLAuthMethod {
	m := &api.ACLAuthMethod{
		Name: b.cfg.AuthMethod, Type: "kubernetes", Description: "podplane: service accounts of a Kubernetes cluster",
		MaxTokenTTL: b.cfg.MaxTokenTTL, Partition: b.cfg.Tenancy.Partition, Namespace: b.namespace(),
		Config: map[string]any{
			"Host": b.cfg.KubernetesHost, "CACert": strings.TrimSpace(b.cfg.KubernetesCA) + "\n", "ServiceAccountJWT": b.cfg.ReviewerToken,
		},
	}
	if b.cfg.Tenancy.Mirror {
		m.Config["MapNamespaces"] = true
		m.Config["ConsulNamespacePrefix"] = b.cfg.Tenancy.Prefix
	}
	return m
}

// rules are the two binding rules. Of the companion's own ServiceAccount the
// first must not make a service as well.
func (b *bootstrap) rules() error {
	own := fmt.Sprintf("serviceaccount.namespace==%q and serviceaccount.name==%q", b.cfg.Namespace, b.cfg.ServiceAccount)
	pods := "(" + cmp.Or(b.cfg.Selector, DefaultSelector) + ") and not (" + own + ")"
	existing, _, err := b.acl.BindingRuleList(b.cfg.AuthMethod, b.read)
	if err != nil {
		return err
	}
	for _, want := range []*api.ACLBindingRule{
		{Description: rulePods, BindType: api.BindingRuleBindTypeService, BindName: "${serviceaccount.name}", Selector: pods},
		{Description: ruleCompanion, BindType: api.BindingRuleBindTypeRole, BindName: b.cfg.Role, Selector: own},
	} {
		want.AuthMethod, want.Partition, want.Namespace = b.cfg.AuthMethod, b.cfg.Tenancy.Partition, b.namespace()
		if err := b.rule(want, existing); err != nil {
			return err
		}
	}
	return nil
}

func (b *bootstrap) rule(want *api.ACLBindingRule, existing []*api.ACLBindingRule) error {
	name := fmt.Sprintf("%q", want.Description)
	at := slices.IndexFunc(existing, func(r *api.ACLBindingRule) bool { return r.Description == want.Description })
	if at < 0 {
		_, _, err := b.acl.BindingRuleCreate(want, b.write)
		b.madeIf(err, "binding rule", name)
		return err
	}
	got := existing[at]
	changed := differ(field{"bind type", got.BindType != want.BindType}, field{"bind name", got.BindName != want.BindName},
		field{"selector", got.Selector != want.Selector})
	var err error
	if len(changed) > 0 {
		want.ID = got.ID
		_, _, err = b.acl.BindingRuleUpdate(want, b.write)
	}
	return b.keptIf(err, "binding rule", name, changed)
}

func (b *bootstrap) madeIf(err error, kind, name string) {
	if err == nil {
		b.done(Step{Kind: kind, Name: name, Created: true})
	}
}

func (b *bootstrap) keptIf(err error, kind, name string, changed []string) error {
	if err == nil {
		b.done(Step{Kind: kind, Name: name, Changed: changed})
	}
	return err
}

// absent turns "not found" into nothing.
func absent[T any](got *T, _ *api.QueryMeta, err error) (*T, error) {
	var status api.StatusError
	if errors.As(err, &status) && status.Code == 404 {
		return nil, nil //nolint:nilnil // what is absent is no error
	}
	return got, err
}

// field is one that may differ from what is asked for.
type field struct {
	name    string
	differs bool
}

// differ gives the names of those that do.
func differ(fields ...field) []string {
	var out []string
	for _, f := range fields {
		if f.differs {
			out = append(out, f.name)
		}
	}
	return out
}

// same compares values of a config, which went through JSON. PEM may have gained
// or lost a newline.
func same(a, b any) bool {
	left, _ := json.Marshal(trimmed(a))
	right, _ := json.Marshal(trimmed(b))
	return string(left) == string(right)
}

func trimmed(v any) any {
	if s, ok := v.(string); ok {
		return strings.TrimSpace(s)
	}
	return v
}
