package ifwatch

import (
	"errors"
	"fmt"
	"path"
	"strings"
)

// Patterns choose links by name. The zero value chooses all of them.
type Patterns struct {
	want, refuse []string
}

// ParsePatterns reads a list of link names, alternative names and globs ("wl*", "eth[0-3]", "?un0"); a leading "!"
// refuses what matches the rest. A link is chosen if it matches one that wants it, or no pattern wants anything, and none
// that refuses it; order does not matter. So ["!virbr*"] keeps the loopback link, and ["eth0"] does not.
// The error names the first bad pattern.
func ParsePatterns(patterns []string) (Patterns, error) {
	var p Patterns
	for _, s := range patterns {
		glob, refuse := strings.CutPrefix(s, "!")
		if err := checkGlob(glob); err != nil {
			return Patterns{}, fmt.Errorf("interface pattern %q: %w", s, err)
		}
		if refuse {
			p.refuse = append(p.refuse, glob)
		} else {
			p.want = append(p.want, glob)
		}
	}
	return p, nil
}

func checkGlob(glob string) error {
	if glob == "" {
		return errors.New("empty")
	}
	if strings.HasPrefix(glob, "!") {
		return errors.New("! is allowed once, in front")
	}
	if strings.Contains(glob, "/") {
		return errors.New("no interface name has a slash")
	}
	if _, err := path.Match(glob, ""); err != nil {
		return errors.New("bad glob")
	}
	return nil
}

// IsZero reports whether p chooses every link because it has no pattern.
func (p Patterns) IsZero() bool { return len(p.want) == 0 && len(p.refuse) == 0 }

// match reports whether the link is chosen.
func (p Patterns) match(l *Link) bool {
	return (len(p.want) == 0 || matchAny(p.want, l)) && !matchAny(p.refuse, l)
}

func matchAny(globs []string, l *Link) bool {
	for _, g := range globs {
		if matchLink(g, l) {
			return true
		}
	}
	return false
}

func matchLink(glob string, l *Link) bool {
	if matchName(glob, l.Name) {
		return true
	}
	for _, alt := range l.AltNames {
		if matchName(glob, alt) {
			return true
		}
	}
	return false
}

func matchName(glob, name string) bool {
	ok, err := path.Match(glob, name)
	return ok && err == nil // checked when parsed
}
