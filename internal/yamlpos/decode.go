package yamlpos

import (
	"fmt"
	"reflect"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxValues bounds what a file may grow to through aliases.
const maxValues = 100_000

// Decode reads the YAML document in data into the struct that into points to, and gives every problem found, in the order of the
// file; nil means there is none. file is only used in the positions. Fields whose value has a problem keep what they held.
func Decode(file string, data []byte, into any) Errors {
	v := reflect.ValueOf(into)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		panic("yamlpos: Decode needs a pointer to a struct")
	}
	p := parse(file, data)
	d := &decoder{file: file, keys: Keys(into), cut: p.cut, open: map[*yaml.Node]bool{}, seen: map[Problem]bool{}}
	d.problems = append(d.problems, p.errors...)
	root := p.root
	if root == nil {
		root = &yaml.Node{Kind: yaml.MappingNode, Line: 1, Column: 1}
	}
	d.value(root, v.Elem(), "", fieldInfo{})
	d.problems.Sort()
	return d.problems
}

// decoder is one run of Decode.
type decoder struct {
	file     string
	keys     []string // every path of the schema, for suggestions
	cut      bool     // the document ends early at a syntax error: nothing can be called missing
	open     map[*yaml.Node]bool
	seen     map[Problem]bool // an aliased value is read once per use but reported once
	values   int
	mistakes int // problems, counting one at every use of an alias
	problems Errors
}

// setDefaults prepares a value that Decode itself has made.
func setDefaults(v reflect.Value) {
	if isAt(v.Type()) {
		v = v.Field(0)
	}
	if t, ok := reflect.TypeAssert[interface{ SetDefaults() }](v.Addr()); ok {
		t.SetDefaults()
	}
}

// selfDecoder is a type of this package that reads itself.
type selfDecoder interface {
	decodeYAML(d *decoder, n *yaml.Node, path string, f fieldInfo) bool
}

// decodeYAML makes At a selfDecoder.
func (a *At[T]) decodeYAML(d *decoder, n *yaml.Node, path string, f fieldInfo) bool {
	a.Pos = d.pos(n)
	a.Set = d.value(n, reflect.ValueOf(&a.Value).Elem(), path, f)
	return a.Set
}

// decodeYAML makes Many a selfDecoder.
func (m *Many[T]) decodeYAML(d *decoder, n *yaml.Node, path string, f fieldInfo) bool {
	switch target := resolve(n); target.Kind {
	case yaml.ScalarNode:
		var one At[T]
		ok := one.decodeYAML(d, n, path, f)
		*m = Many[T]{one}
		return ok
	case yaml.SequenceNode:
	default:
		return d.mismatch(n, path, f.wanted("one value or a list"))
	}
	var list []At[T]
	f.each = f.want
	ok := d.value(n, reflect.ValueOf(&list).Elem(), path, f)
	*m = list
	return ok
}

// value reads n into v and tells whether that succeeded without a problem.
func (d *decoder) value(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if self, ok := reflect.TypeAssert[selfDecoder](v.Addr()); ok {
		return self.decodeYAML(d, n, path, f)
	}
	if d.values++; d.values > maxValues {
		return d.tooMany(n)
	}
	target := resolve(n)
	if d.open[target] {
		return d.add(n, path, "the alias *"+n.Value+" is inside the value it stands for")
	}
	d.open[target] = true
	defer delete(d.open, target)
	if !d.plainTag(target, path) {
		return false
	}
	return d.kind(target, v, path, f)
}

// kind reads n, which is no alias, by the kind of v.
func (d *decoder) kind(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if isText(v) {
		return d.scalar(n, v, path, f)
	}
	switch v.Kind() {
	case reflect.Pointer:
		fresh := reflect.New(v.Type().Elem())
		setDefaults(fresh.Elem())
		ok := d.kind(n, fresh.Elem(), path, f)
		v.Set(fresh)
		return ok
	case reflect.Struct:
		return d.mapping(n, v, path, f)
	case reflect.Slice:
		return d.list(n, v, path, f)
	case reflect.Map:
		return d.table(n, v, path, f)
	default:
		return d.scalar(n, v, path, f)
	}
}

// mapping reads keys into the fields of a struct.
func (d *decoder) mapping(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if !isNull(n) && n.Kind != yaml.MappingNode {
		return d.mismatch(n, path, f.wanted("keys and values"))
	}
	before := d.mistakes
	fields := fieldsOf(v.Type())
	found := map[string]bool{}
	for _, p := range d.pairs(n, path) {
		info, known := fields.byName(p.key.Value)
		if !known {
			d.unknown(p.key, path, fields)
			continue
		}
		found[info.name] = true
		into := v.Field(info.index)
		if d.value(p.value, into, join(path, info.name), info) && info.later != "" && !empty(into) {
			d.add(p.value, join(path, info.name), "not yet supported: "+info.later)
		}
	}
	for _, info := range fields {
		if info.required && !found[info.name] && !d.cut {
			d.add(n, path, fmt.Sprintf("the key %q is missing", info.name))
		}
	}
	return d.mistakes == before
}

// list reads a sequence into a slice.
func (d *decoder) list(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.SequenceNode {
		return d.mismatch(n, path, f.wanted("a list"))
	}
	ok := true
	f.want = f.each
	items := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		setDefaults(items.Index(i))
		ok = d.value(item, items.Index(i), fmt.Sprintf("%s[%d]", path, i), f) && ok
	}
	v.Set(items)
	return ok
}

// table reads keys that are the user's own into a map.
func (d *decoder) table(n *yaml.Node, v reflect.Value, path string, f fieldInfo) bool {
	if isNull(n) {
		return true
	}
	if n.Kind != yaml.MappingNode {
		return d.mismatch(n, path, f.wanted("keys and values"))
	}
	before := d.mistakes
	f.want = f.each
	m := reflect.MakeMap(v.Type())
	for _, p := range d.pairs(n, path) {
		key := reflect.New(v.Type().Key()).Elem()
		value := reflect.New(v.Type().Elem()).Elem()
		setDefaults(value)
		// Whatever it looks like, a key is text: 7: is the key "7".
		goodKey := d.scalar(p.key, key, path, fieldInfo{raw: true})
		goodValue := d.value(p.value, value, join(path, p.key.Value), f)
		switch {
		case !goodKey || !goodValue:
		case m.MapIndex(key).IsValid():
			d.add(p.key, path, fmt.Sprintf("%q is here twice, written differently", p.key.Value))
		default:
			m.SetMapIndex(key, value)
		}
	}
	v.Set(m)
	return d.mistakes == before
}

// pair is one "key: value".
type pair struct{ key, value *yaml.Node }

// pairs gives the keys of a mapping: its own first, then those merged in with "<<" that it does not have itself.
func (d *decoder) pairs(n *yaml.Node, path string) []pair {
	var out []pair
	var merged []*yaml.Node
	have := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := resolve(n.Content[i]), n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode || isNull(key):
			d.add(n.Content[i], path, "a key must be text, found "+describe(key))
		case key.Tag == "!!merge":
			merged = append(merged, value)
		case have[key.Value] > 0:
			d.add(key, path, fmt.Sprintf("the key %q is here twice, first in line %d", key.Value, have[key.Value]))
		default:
			have[key.Value] = key.Line
			out = append(out, pair{key, value})
		}
	}
	for _, m := range merged {
		for _, p := range d.merge(m, path) {
			if have[p.key.Value] == 0 {
				have[p.key.Value] = p.key.Line
				out = append(out, p)
			}
		}
	}
	return out
}

// merge gives the pairs behind "<<": those of one mapping, or of a list of them.
func (d *decoder) merge(n *yaml.Node, path string) []pair {
	target := resolve(n)
	d.values++
	switch {
	case d.values > maxValues:
		d.tooMany(n)
		return nil
	case d.open[target]:
		d.add(n, path, "<< merges a value into itself")
		return nil
	}
	d.open[target] = true
	defer delete(d.open, target)
	switch target.Kind {
	case yaml.MappingNode:
		return d.pairs(target, path)
	case yaml.SequenceNode:
		var out []pair
		for _, item := range target.Content {
			out = append(out, d.merge(item, path)...)
		}
		return out
	default:
		d.mismatch(n, path, "keys and values after <<")
		return nil
	}
}

// tooMany stops a file whose aliases multiply.
func (d *decoder) tooMany(n *yaml.Node) bool {
	if d.values == maxValues+1 {
		d.add(n, "", fmt.Sprintf("aliases make this file more than %d values long", maxValues))
	}
	return false
}

// plainTag refuses tags of one's own; what YAML itself defines is left to the type check.
func (d *decoder) plainTag(n *yaml.Node, path string) bool {
	if n.Style&yaml.TaggedStyle == 0 || strings.HasPrefix(n.Tag, "!!") {
		return true
	}
	// The tag may be the beginning of a password, so it is not repeated.
	return d.add(n, path, "a value that begins with ! is a YAML tag: as a text it needs quotes")
}

// mismatch reports a value of the wrong type.
func (d *decoder) mismatch(n *yaml.Node, path, want string) bool {
	return d.add(n, path, "expected "+want+", found "+describe(resolve(n)))
}

// add reports a problem at n with the key's path, and gives false.
func (d *decoder) add(n *yaml.Node, path, text string) bool {
	pos := d.pos(n)
	d.mistakes++
	if d.seen[Problem{pos, text}] {
		return false
	}
	d.seen[Problem{pos, text}] = true
	if path != "" {
		text = path + ": " + text
	}
	d.problems = append(d.problems, Problem{pos, text})
	return false
}

func (d *decoder) pos(n *yaml.Node) Pos { return Pos{d.file, n.Line, n.Column} }

// resolve follows an alias; yaml.v3 never makes an alias of an alias.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
