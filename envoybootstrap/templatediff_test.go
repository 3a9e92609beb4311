// SPDX-License-Identifier: MPL-2.0

package envoybootstrap

import (
	"reflect"
	"strings"
	"testing"
	"text/template"
)

// The tables of fields are written by hand. Here reflection holds them equal to the structs.
func TestTemplateFieldsAreThoseOfTheStruct(t *testing.T) {
	t.Parallel()
	args := reflect.New(reflect.TypeFor[TemplateArgs]()).Elem()
	fill(args)
	n := 0
	for _, field := range reflect.VisibleFields(args.Type()) {
		n++
		got, ok := templateField(args.Interface(), field.Name)
		if want := args.FieldByIndex(field.Index).Interface(); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("%s is %v, want %v", field.Name, got, want)
		}
	}
	if known := len(templateFields) + len(grpcFields); known != n {
		t.Errorf("%d fields in the tables, %d in the struct", known, n)
	}
}

// fill gives every text a value of its own.
func fill(v reflect.Value) {
	for i := range v.NumField() {
		switch f := v.Field(i); f.Kind() {
		case reflect.Struct:
			fill(f)
		case reflect.Bool:
			f.SetBool(true)
		case reflect.Slice:
			f.Set(reflect.ValueOf([]string{"one", "two"}))
		default:
			f.SetString("value of " + v.Type().Field(i).Name)
		}
	}
}

func diffArgs() TemplateArgs {
	return TemplateArgs{
		GRPC:                 GRPC{AgentAddress: "127.0.0.1", AgentPort: "8502"},
		ProxyID:              "a<b>&'\"=\\\x00\x01\x7f é\u2028\xff",
		ProxyCluster:         "web",
		AdminAccessLogConfig: append(make([]string, 0, 4), `{"a":1}`, "", "three"),
		StaticClustersJSON:   `{"name":"x"},{"name":"y"}`,
	}
}

// sameAsText runs a template here and with text/template: both fail, or both give the same.
func sameAsText(t *testing.T, text string, args TemplateArgs) {
	t.Helper()
	got, err := executeTemplate(text, args)
	var want strings.Builder
	tpl, wantErr := template.New("bootstrap").Parse(text)
	if wantErr == nil {
		wantErr = tpl.Execute(&want, args)
	}
	if (err != nil) != (wantErr != nil) {
		t.Fatalf("%s\nerror %v\nwant  %v", text, err, wantErr)
	}
	if err == nil && got != want.String() {
		t.Fatalf("%s\ngives %q\nwant  %q", text, got, want.String())
	}
}

func TestTemplatesAsWithTextTemplate(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"operators": {operatorsTemplate},
		"text":      {"", "a", "a {{- /* no */ -}} b", "{{ `{{` }}", "a\n{{- 1 -}}\n b"},
		"fields": {
			"{{ .ProxyID }}{{ $.ProxyID }}{{ .GRPC.AgentPort }}{{ .AgentTLS }}{{ .GRPC }}{{ . }}", "{{ .Nope }}",
			"{{ .ProxyID.Nope }}", "{{ (.GRPC).AgentPort }}", "{{ .ProxyID 1 }}", "{{ 1 | .ProxyID }}", "{{ print.Nope }}",
		},
		"variables": {
			"{{ $x := 1 }}{{ $x }}{{ $x = 2 }}{{ $x }}", "{{ $x := 1 }}{{ if true }}{{ $x := 2 }}{{ end }}{{ $x }}",
			"{{ $x := 1 }}{{ with 3 }}{{ $x = . }}{{ end }}{{ $x }}", "{{ $g := .GRPC }}{{ $g.AgentPort }}", "{{ $x }}", "{{ $x = 1 }}",
		},
		"branches": {
			"{{ if .ProxyID }}a{{ else }}b{{ end }}", "{{ if .Token }}a{{ else if .AgentTLS }}b{{ else }}c{{ end }}",
			"{{ with .Token }}a{{ else with .ProxyCluster }}{{ . }}{{ else }}c{{ end }}", "{{ if 0.0 }}a{{ end }}{{ if 0i }}b{{ end }}{{ if $ }}c{{ end }}",
			"{{ if nil }}{{ end }}", "{{ with $x := .ProxyCluster }}{{ $x }}{{ end }}",
		},
		"range": {
			"{{ range $i, $l := .AdminAccessLogConfig }}{{ $i }}={{ $l }},{{ end }}", "{{ range .AdminAccessLogConfig }}[{{ . }}]{{ end }}",
			"{{ range slice .AdminAccessLogConfig 1 1 }}a{{ else }}none{{ end }}", "{{ range 4 }}{{ . }}{{ if eq . 2 }}{{ break }}{{ end }}{{ end }}",
			"{{ range $i := 4 }}{{ if eq $i 2 }}{{ continue }}{{ end }}{{ $i }}{{ end }}", "{{ range $i, $j := 3 }}{{ end }}", "{{ range -1 }}a{{ else }}b{{ end }}",
			"{{ range .ProxyID }}{{ end }}", "{{ range true }}{{ end }}", "{{ range 1.5 }}{{ end }}", "{{ range index .ProxyCluster 0 }}.{{ end }}",
			"{{ $x := 0 }}{{ $y := 0 }}{{ range $x, $y = .AdminAccessLogConfig }}{{ $x }}{{ end }}{{ $x }}{{ $y }}",
			"{{ $x := 9 }}{{ range $x = 3 }}{{ $x }}{{ end }}{{ $x }}", "{{ range 3 }}a{{ range 0 }}{{ else }}{{ break }}{{ end }}b{{ end }}",
			"{{ range 3 }}a{{ range 0 }}{{ else }}{{ continue }}{{ end }}b{{ end }}", "{{ break }}", "{{ range $x, $x := .AdminAccessLogConfig }}{{ $x }}{{ end }}",
		},
		"templates": {
			`{{ define "a" }}<{{ . }}{{ $ }}>{{ end }}{{ template "a" .ProxyCluster }}{{ template "a" }}`, `{{ block "b" .GRPC }}{{ .AgentPort }}{{ end }}`,
			`{{ template "none" }}`, `{{ $x := 1 }}{{ define "a" }}{{ $x }}{{ end }}{{ template "a" }}`, `{{ define "a" }}{{ .X.Y }}{{ end }}{{ template "a" }}`,
			`{{ define "bootstrap" }}x{{ end }}`, `{{ define "a" }} {{ end }}{{ template "a" }}`, `{{ define "a" }}1{{ end }}{{ define "a" }}2{{ end }}`,
			`{{ define "a" }}{{ if gt . 0 }}{{ . }}{{ template "a" 0 }}{{ end }}{{ end }}{{ template "a" 2 }}`, `{{ template "a" $y := 3 }}{{ define "a" }}{{ . }}{{ end }}`,
		},
		"logic": {
			"{{ and 1 0 .Nope }}", "{{ or 0 1 .Nope }}", "{{ and }}", "{{ 1 | and }}", "{{ 0 | or 0 }}", "{{ and 1 .ProxyCluster }}", "{{ not .Token }}", "{{ not nil }}",
			"{{ not 1 2 }}", "{{ .AdminAccessLogConfig | and 1 }}",
		},
		"compare": {
			"{{ eq 1 1 }}{{ ne 1 2 }}{{ lt 1 2 }}{{ le 2 2 }}{{ gt 2 1 }}{{ ge 2 2 }}", `{{ lt "a" "b" }}{{ ge "a" "b" }}{{ gt 1.5 1.0 }}`, "{{ eq 1 }}", "{{ eq }}",
			"{{ eq 1 2 3 1 }}", "{{ eq 1 1.0 }}", `{{ eq 1 "1" }}`, `{{ eq 1 1 "1" }}`, `{{ eq nil nil }}{{ eq "a" nil }}{{ eq nil "a" }}`, "{{ eq true true }}{{ eq 1i 1i }}",
			"{{ lt true false }}", "{{ lt 1i 2i }}", "{{ lt nil 1 }}", "{{ eq .GRPC .GRPC }}", "{{ eq . . }}", "{{ eq . .GRPC }}", "{{ eq .GRPC . }}", "{{ ne 1 2 3 }}",
			"{{ eq .AdminAccessLogConfig nil }}", "{{ eq .AdminAccessLogConfig .AdminAccessLogConfig }}", "{{ eq .AdminAccessLogConfig .GRPC }}", "{{ eq .AdminAccessLogConfig 1 }}",
			"{{ eq (index .ProxyCluster 0) 119 'w' }}", "{{ lt (index .ProxyCluster 0) 200 }}{{ lt -1 (index .ProxyCluster 0) }}", "{{ eq true 1 }}", "{{ eq .GRPC 1 }}",
		},
		"lists": {
			"{{ len .AdminAccessLogConfig }}{{ len .ProxyID }}", "{{ len 1 }}", "{{ len nil }}", "{{ index .AdminAccessLogConfig 2 }}", "{{ index .AdminAccessLogConfig 3 }}",
			"{{ index .AdminAccessLogConfig 0 1 }}", "{{ index .AdminAccessLogConfig 0 1 2 }}", "{{ index .AdminAccessLogConfig -1 }}", "{{ index 1 }}", "{{ index nil }}", "{{ index 1 1 }}",
			`{{ index .ProxyID "a" }}`, "{{ index .AdminAccessLogConfig nil }}", "{{ slice .ProxyCluster 1 }}{{ slice .ProxyCluster 1 2 }}{{ slice .ProxyCluster }}",
			"{{ slice .ProxyCluster 1 2 3 }}", "{{ slice .ProxyCluster 2 1 }}", "{{ slice .ProxyCluster 4 }}", "{{ len (slice .AdminAccessLogConfig 0 4) }}",
			"{{ slice .AdminAccessLogConfig 0 5 }}", "{{ slice .AdminAccessLogConfig 0 2 3 }}", "{{ slice .AdminAccessLogConfig 0 2 1 }}", "{{ slice .AdminAccessLogConfig 4 }}",
			"{{ slice 1 }}", "{{ slice nil }}", "{{ slice .AdminAccessLogConfig 0 1 2 3 }}", "{{ slice .ProxyCluster 1.0 }}",
		},
		"print": {
			`{{ print 1 2 "a" "b" 3 nil .AgentTLS }}`, `{{ println "a" 1 }}`, `{{ printf "%q %d %v %s" .ProxyID 3 nil .AdminAccessLogConfig }}`, `{{ printf "%d" "a" }}`, `{{ printf 1 }}`,
			`{{ printf nil }}`, `{{ printf }}`, `{{ .ProxyID | printf "%x" }}`, `{{ "%d" | printf }}`, `{{ print }}`, `{{ printf "%[2]s%[1]s" "a" "b" }}`, `{{ nil }}`, `{{ "a" 1 }}`, `{{ 1 | 2 }}`,
			`{{ html .ProxyID }}|{{ js .ProxyID }}|{{ urlquery .ProxyID }}`, `{{ html nil 1 "<" }}{{ js nil }}{{ urlquery }}`, `{{ call 1 }}`, `{{ nosuch }}`,
			"{{ js \"\U000e0001\U0001f600\" }}",
		},
		"numbers": {
			"{{ 1 }}{{ -1 }}{{ 0x1F }}{{ 0b11 }}{{ 1e3 }}{{ 1.5 }}{{ 'a' }}{{ 1i }}{{ 0x1p4 }}{{ 1_000 }}{{ '.' }}", "{{ 9223372036854775808 }}", "{{ 1e400 }}", "{{ 0xe }}",
		},
	}
	for name, texts := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, text := range texts {
				sameAsText(t, text, diffArgs())
				sameAsText(t, text, TemplateArgs{})
			}
		})
	}
}

// Text/template would run these for hours, or until there is no memory.
func TestTemplatesEnd(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{{ range 9000000000000 }}{{ end }}`:                            "more than 10000000 steps",
		"\n{{ range 9000000 }}{{ range 9000000 }}{{ end }}{{ end }}":    "bootstrap:2:",
		`{{ define "a" }}{{ template "a" }}{{ end }}{{ template "a" }}`: "maximum template depth",
		`{{ $x := "ab" }}{{ range 99 }}{{ $x = print $x $x }}{{ end }}`: "a text has more than",
		`{{ $x := printf "%999999d" 1 }}{{ printf "%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s%[1]s" $x }}`: "too often",
	} {
		_, err := executeTemplate(text, TemplateArgs{})
		wantError(t, err, want)
	}
}
