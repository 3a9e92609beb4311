// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Page is a document in Markdown.
type Page struct {
	// Path is relative to the root of the repository.
	Path string
	// Lines are without their ends.
	Lines []string
	// Code are its fenced blocks.
	Code []Code
}

// Code is a fenced block.
type Code struct {
	// Language is what stands after the fence: "sh", "hcl".
	Language string
	// Text is the content, with newlines.
	Text string
	// First and Last are the indexes of the lines with the fences.
	First, Last int
}

// ReadPage reads the page at path, which is called name.
func ReadPage(path, name string) (Page, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Page{}, err
	}
	return ParsePage(name, string(data))
}

// fence begins or ends a block of code.
const fence = "```"

// ParsePage finds the blocks. One that is not closed is an error.
func ParsePage(name, text string) (Page, error) {
	p := Page{Path: name, Lines: strings.Split(text, "\n")}
	open := -1
	for i, line := range p.Lines {
		language, isFence := strings.CutPrefix(line, fence)
		switch {
		case !isFence:
		case open < 0:
			open = i
			p.Code = append(p.Code, Code{Language: strings.TrimSpace(language), First: i})
		default:
			code := &p.Code[len(p.Code)-1]
			code.Last = i
			for _, l := range p.Lines[open+1 : i] {
				code.Text += l + "\n"
			}
			open = -1
		}
	}
	if open >= 0 {
		return p, fmt.Errorf("%s:%d: the block is not closed", name, open+1)
	}
	return p, nil
}

// Prose are the lines outside of blocks of code; lines in them are empty, so that indexes stay.
func (p Page) Prose() []string {
	lines := append([]string{}, p.Lines...)
	for _, code := range p.Code {
		for i := code.First; i <= code.Last; i++ {
			lines[i] = ""
		}
	}
	return lines
}

var (
	heading    = regexp.MustCompile(`^#{1,6} +(.+?) *$`)
	linkText   = regexp.MustCompile(`\[([^\]]*)\]\([^)]*\)`)
	notInSlugs = regexp.MustCompile(`[^\p{L}\p{N} _-]`)
	link       = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	inline     = regexp.MustCompile("`[^`]*`")
)

// Anchors are the names under which a page's headings can be linked to, as GitHub makes them.
func (p Page) Anchors() map[string]bool {
	anchors := map[string]bool{}
	for _, line := range p.Prose() {
		m := heading.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		text := strings.ToLower(linkText.ReplaceAllString(m[1], "$1"))
		slug := strings.ReplaceAll(notInSlugs.ReplaceAllString(text, ""), " ", "-")
		for name, n := slug, 1; ; n++ {
			if !anchors[name] {
				anchors[name] = true
				break
			}
			name = fmt.Sprintf("%s-%d", slug, n)
		}
	}
	return anchors
}

// Link is where a page points to.
type Link struct {
	Target string
	Line   int // from 1
}

// Links are all links of a page.
func (p Page) Links() []Link {
	var links []Link
	for i, line := range p.Prose() {
		for _, m := range link.FindAllStringSubmatch(inline.ReplaceAllString(line, ""), -1) {
			links = append(links, Link{Target: m[1], Line: i + 1})
		}
	}
	return links
}
