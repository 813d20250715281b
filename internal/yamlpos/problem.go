package yamlpos

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in a file.
type Pos struct {
	File   string // as the user named it
	Line   int    // from 1; 0 means the file as a whole
	Column int    // from 1, in characters (not bytes)
}

// String gives FILE:LINE:COL, or FILE alone for the file as a whole.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Problem is one finding at one place.
type Problem struct {
	Pos  Pos
	Text string // what was found and what was expected; never a secret
}

// String gives FILE:LINE:COL: text, the form editors jump to.
func (p Problem) String() string { return p.Pos.String() + ": " + p.Text }

// Errors is everything that is wrong with a file, in the order of the file.
type Errors []Problem

// Error gives one line per problem.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Sort orders by line and column; problems at one place keep their order.
func (e Errors) Sort() {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Pos.Line, b.Pos.Line), cmp.Compare(a.Pos.Column, b.Pos.Column))
	})
}

// At is a value together with the place it was written at.
type At[T any] struct {
	Value T
	Pos   Pos  // the value's own position; of a key that is not set: zero
	Set   bool // false: the key is not in the file and Value holds what it held before
}

// Many is a list that may also be written as one bare value:
// "net_interface: eth0" and "net_interface: [eth0, eth1]".
type Many[T any] []At[T]
