package yamlpos

import (
	"fmt"
	"slices"
	"strings"

	"gopkg.in/yaml.v3"
)

// unknown reports a key that does not exist, with the key that was probably meant.
func (d *decoder) unknown(key *yaml.Node, path string, fields fieldInfos) {
	text := fmt.Sprintf("unknown key %q", key.Value)
	if meant := d.meant(key.Value, path, fields); meant != "" {
		text += fmt.Sprintf("; did you mean %q?", meant)
	} else if len(fields) > 0 {
		text += "; known here: " + strings.Join(fields.names(), ", ")
	}
	d.add(key, path, text)
}

// meant guesses the key: one of the same place with a similar name, one that other programs call so, or one of another place.
func (d *decoder) meant(key, path string, fields fieldInfos) string {
	lower := strings.ToLower(strings.ReplaceAll(key, "-", "_"))
	for _, f := range fields {
		if slices.Contains(f.was, lower) {
			return f.name
		}
	}
	best, least := "", 1+len(key)/3
	for _, f := range fields {
		if n := distance(lower, f.name); n < least || n == 0 {
			best, least = f.name, n
		}
	}
	if best != "" {
		return best
	}
	for _, full := range d.keys {
		last := full[strings.LastIndexByte(full, '.')+1:]
		if full != join(path, lower) && (last == lower || strings.ReplaceAll(full, ".", "_") == lower) {
			return full
		}
	}
	return ""
}

func (fs fieldInfos) names() []string {
	out := make([]string, len(fs))
	for i, f := range fs {
		out[i] = f.name
	}
	return out
}

// distance is the number of letters to add, drop, replace or swap with a neighbour to turn a into b (optimal string alignment).
func distance(a, b string) int {
	before, last, row := []int(nil), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, make([]int, len(b)+1)
	}
	return last[len(b)]
}
