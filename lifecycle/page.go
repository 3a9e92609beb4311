// SPDX-License-Identifier: MPL-2.0

package lifecycle

import (
	"bytes"
	"encoding/json"
	"html"
	"maps"
	"slices"
	"strings"
)

const pageHead = `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>podplane</title>
<style>
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}
h2{margin:1.6em 0 .4em;border-bottom:1px solid #bbb}
table{border-collapse:collapse}
th,td{text-align:left;vertical-align:top;padding:.15em .9em .15em 0}
th{font-weight:600;color:#555}
td td,td th{border-bottom:1px solid #eee}
</style></head><body><h1>podplane</h1>
`

// statusPage renders the sections for people: an object as a table of its keys, a list of objects as a table with a
// column a key. It is written by hand because a template would be longer than the code and cost the binary more.
func statusPage(sections []made) []byte {
	var p page
	p.raw(pageHead)
	for _, sec := range sections {
		p.raw("<h2>")
		p.text(sec.name)
		p.raw("</h2>\n")
		var content any
		decoder := json.NewDecoder(bytes.NewReader(sec.json))
		decoder.UseNumber() // numbers are shown as they were written
		if err := decoder.Decode(&content); err != nil {
			p.text(err.Error())
			continue
		}
		p.value(content)
		p.raw("\n")
	}
	p.raw("</body></html>\n")
	return p.Bytes()
}

// page is HTML in the making.
type page struct{ bytes.Buffer }

func (p *page) raw(markup string) { p.WriteString(markup) }

func (p *page) text(s string) { p.WriteString(html.EscapeString(s)) }

// value renders what encoding/json decodes into.
func (p *page) value(v any) {
	switch v := v.(type) {
	case map[string]any:
		p.object(v)
	case []any:
		if len(v) == 0 {
			p.raw("–")
			return
		}
		p.list(v)
	case string:
		p.text(v)
	case json.Number:
		p.text(v.String())
	case bool:
		if v {
			p.raw("yes")
		} else {
			p.raw("no")
		}
	default:
		p.raw("–")
	}
}

func (p *page) object(v map[string]any) {
	p.raw("<table>")
	for _, key := range slices.Sorted(maps.Keys(v)) {
		p.raw("<tr><th>")
		p.text(label(key))
		p.raw("</th><td>")
		p.value(v[key])
		p.raw("</td></tr>")
	}
	p.raw("</table>")
}

func (p *page) list(items []any) {
	columns := map[string]bool{}
	for _, item := range items {
		row, ok := item.(map[string]any)
		if !ok {
			p.plainList(items)
			return
		}
		for key := range row {
			columns[key] = true
		}
	}
	keys := slices.Sorted(maps.Keys(columns))
	p.raw("<table><tr>")
	for _, key := range keys {
		p.raw("<th>")
		p.text(label(key))
		p.raw("</th>")
	}
	p.raw("</tr>")
	for _, item := range items {
		row, _ := item.(map[string]any)
		p.raw("<tr>")
		for _, key := range keys {
			p.raw("<td>")
			p.value(row[key])
			p.raw("</td>")
		}
		p.raw("</tr>")
	}
	p.raw("</table>")
}

func (p *page) plainList(items []any) {
	for i, item := range items {
		if i > 0 {
			p.raw("<br>")
		}
		p.value(item)
	}
}

// label is a JSON key as words.
func label(key string) string { return strings.ReplaceAll(key, "_", " ") }
