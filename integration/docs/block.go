// SPDX-License-Identifier: MPL-2.0

package docs

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// Block are shell commands of a page.
type Block struct {
	Code
	// Page and Line say where it is; the line, from 1, is the first one of the commands.
	Page string
	Line int
	// Scenario is where it is run, empty if it is not.
	Scenario string
	// NotRun is why it is not.
	NotRun string
	// Serves is a URL that answers 200 while it runs, for a block that does not end by itself.
	Serves string
	// Prints are texts in its output.
	Prints []string
}

// String is where the block is.
func (b Block) String() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// shell is the language of blocks that are run; shells are names for it that would hide one.
const shell = "sh"

var shells = []string{"bash", "shell", "console", "zsh", "shell-session", ""}

// Blocks are the shell commands of a page, in order. The error names every block of which it is not said whether it is
// run, or that cannot be run as it is said.
func (p Page) Blocks() ([]Block, error) {
	var blocks []Block
	var errs []error
	for _, code := range p.Code {
		for _, name := range shells {
			if code.Language == name {
				errs = append(errs, fmt.Errorf("%s:%d: the language is %q: use %q for commands, and name any other", p.Path, code.First+1, name, shell))
			}
		}
		if code.Language != shell {
			continue
		}
		b := Block{Code: code, Page: p.Path, Line: code.First + 2}
		b.after(p)
		if err := errors.Join(b.before(p), b.check()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", b, err))
		}
		blocks = append(blocks, b)
	}
	return blocks, errors.Join(errs...)
}

var directive = regexp.MustCompile(`^<!-- ([a-z ]+): (.+) -->$`)

// before reads the comments on the lines right before the block. What an earlier block has after it is not its.
func (b *Block) before(p Page) error {
	for i := b.First - 1; i >= 0; i-- {
		m := directive.FindStringSubmatch(p.Lines[i])
		if m == nil || m[1] == "not run" {
			return nil
		}
		switch m[1] {
		case "run":
			b.Scenario = m[2]
		case "serves":
			b.Serves = m[2]
		case "prints":
			b.Prints = append([]string{m[2]}, b.Prints...)
		default:
			return fmt.Errorf("there is no comment %q", m[1])
		}
	}
	return nil
}

// after reads the comment on the line right after the block.
func (b *Block) after(p Page) {
	if b.Last+1 >= len(p.Lines) {
		return
	}
	if m := directive.FindStringSubmatch(p.Lines[b.Last+1]); m != nil && m[1] == "not run" {
		b.NotRun = m[2]
	}
}

// placeholder is what nobody can run.
var placeholder = regexp.MustCompile(`…|<[a-z-]+>`)

func (b *Block) check() error {
	switch {
	case b.Scenario == "" && b.NotRun == "":
		return errors.New("neither run nor said why not")
	case b.Scenario != "" && b.NotRun != "":
		return errors.New("both run and not run")
	case b.Scenario == "" && (b.Serves != "" || b.Prints != nil):
		return errors.New("it is not run, so it can neither serve nor print")
	case strings.TrimSpace(b.Text) == "":
		return errors.New("no commands")
	case b.Scenario != "" && placeholder.MatchString(b.Text):
		return fmt.Errorf("a placeholder, %q, cannot be run", placeholder.FindString(b.Text))
	}
	return nil
}
