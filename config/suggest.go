// SPDX-License-Identifier: MPL-2.0

package config

import (
	"strconv"
	"strings"
)

// closest returns the candidate that word most likely is a misspelling of, or "".
func closest(word string, candidates []string) string {
	const maxWord = 100 // nobody misspells more, and the search is quadratic
	if len(word) > maxWord {
		return ""
	}
	word = strings.ToLower(word)
	best, bestDistance := "", 1+min(3, len(word)/3)
	for _, c := range candidates {
		if d := distance(word, strings.ToLower(c)); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

// distance is the number of bytes to insert, delete, replace or swap with their
// neighbour to get from a to b (optimal string alignment).
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, prev, cur := rows[0], rows[1], rows[2]
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], before[j-2]+1)
			}
		}
		before, prev, cur = prev, cur, before
	}
	return prev[len(b)]
}

// oneLine makes a name from outside safe to print without quotes.
func oneLine(s string) string {
	q := strconv.Quote(s)
	if q != `"`+s+`"` || hasSpace(s) {
		return q
	}
	return s
}
