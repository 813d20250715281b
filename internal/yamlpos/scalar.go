package yamlpos

import (
	"cmp"
	"encoding"
	"fmt"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

var (
	durationType = reflect.TypeFor[time.Duration]()
	addrType     = reflect.TypeFor[netip.Addr]()
)

// isText tells whether v reads itself from text.
func isText(v reflect.Value) bool {
	_, ok := reflect.TypeAssert[encoding.TextUnmarshaler](v.Addr())
	return ok
}

// scalar reads a single value.
func (d *decoder) scalar(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	want := f.wanted(expected(v))
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return d.mismatch(n, path, want)
	}
	switch {
	case isText(v):
		return d.text(n, v, path, f)
	case v.Type() == durationType:
		return d.duration(n, v, path, f)
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" && !f.raw {
			return d.mismatch(n, path, want)
		}
		v.SetString(n.Value)
		return true
	case reflect.Bool:
		if n.Tag != "!!bool" {
			return d.mismatch(n, path, want)
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
		return true
	default:
		return d.number(n, v, path, f)
	}
}

// text reads a type with an UnmarshalText method.
func (d *decoder) text(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	fresh := reflect.New(v.Type()) // a failed UnmarshalText may leave anything behind
	into, _ := reflect.TypeAssert[encoding.TextUnmarshaler](fresh)
	err := into.UnmarshalText([]byte(n.Value))
	switch {
	case err != nil && (f.want != "" || v.Type() == addrType):
		return d.mismatch(n, path, f.wanted(expected(v)))
	case err != nil:
		return d.add(n, path, err.Error())
	}
	v.Set(fresh.Elem())
	return true
}

// duration reads "1m30s". A number without a unit is refused: nobody can tell seconds from milliseconds.
func (d *decoder) duration(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	length, err := time.ParseDuration(n.Value)
	if err != nil {
		return d.mismatch(n, path, f.wanted(expected(v)))
	}
	low, high, bounded := bounds(f.limits, time.ParseDuration)
	if bounded && (length < low || length > high) {
		return d.add(n, path, fmt.Sprintf("expected %v to %v, found %v", low, high, length))
	}
	v.SetInt(int64(length))
	return true
}

// number reads the integer and float types. Integers are decimal: 010 would be 8 to some and 10 to others.
func (d *decoder) number(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if n.Tag != "!!int" && (n.Tag != "!!float" || v.Kind() != reflect.Float64 && v.Kind() != reflect.Float32) {
		return d.mismatch(n, path, f.wanted(expected(v)))
	}
	switch {
	case v.CanInt():
		return setNumber(d, n, path, f, v.OverflowInt, v.SetInt, func(s string) (int64, error) { return strconv.ParseInt(s, 10, 64) })
	case v.CanUint():
		return setNumber(d, n, path, f, v.OverflowUint, v.SetUint, func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	case v.CanFloat():
		return setNumber(d, n, path, f, v.OverflowFloat, v.SetFloat, func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	default:
		panic("yamlpos: fields of type " + v.Type().String() + " are not supported")
	}
}

// setNumber parses, checks the bounds and sets.
func setNumber[N cmp.Ordered](d *decoder, n *yaml.Node, path string, f fieldInfo, overflows func(N) bool, set func(N), parse func(string) (N, error)) bool {
	x, err := parse(n.Value)
	low, high, bounded := bounds(f.limits, parse)
	switch {
	case bounded && (err != nil || x < low || x > high):
		return d.add(n, path, fmt.Sprintf("expected %v to %v, found %s", low, high, n.Value))
	case err != nil || overflows(x):
		return d.mismatch(n, path, f.wanted("a decimal number that fits"))
	}
	set(x)
	return true
}

// bounds parses a range tag; a tag that does not fit the field's type is a mistake in the program.
func bounds[N any](tag string, parse func(string) (N, error)) (low, high N, ok bool) {
	if tag == "" {
		return low, high, false
	}
	from, to, _ := strings.Cut(tag, "..")
	low, errLow := parse(from)
	high, errHigh := parse(to)
	if errLow != nil || errHigh != nil {
		panic("yamlpos: bad range tag " + strconv.Quote(tag))
	}
	return low, high, true
}

// expected names what a field takes.
func expected(v reflect.Value) string {
	switch {
	case v.Type() == durationType:
		return "a duration with its unit, such as 30s or 5m"
	case v.Type() == addrType:
		return "an IP address"
	}
	switch v.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Float32, reflect.Float64:
		return "a number"
	default:
		if v.CanInt() || v.CanUint() {
			return "a whole number"
		}
		return "text"
	}
}

// maxShown is how much of a wrong value a message repeats.
const maxShown = 40

// describe names a value that does not fit.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	default:
	}
	shown := n.Value
	if r := []rune(shown); len(r) > maxShown {
		shown = string(r[:maxShown]) + "..."
	}
	switch n.Tag {
	case "!!null":
		return "nothing"
	case "!!bool":
		return shown
	case "!!int", "!!float":
		return "the number " + shown
	default:
		return strconv.Quote(shown)
	}
}

// empty tells whether a value is what its key means when left out.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return v.IsZero()
	}
}
