package yamlpos

import (
	"reflect"
	"slices"
	"strings"
)

// fieldInfo is what the tags of a field say.
type fieldInfo struct {
	index    int
	name     string
	required bool
	raw      bool
	limits   string   // the range tag
	want     string   // the want tag
	each     string   // the each tag
	later    string   // the later tag
	was      []string // the was tag
}

// wanted gives the want tag's text, or otherwise the text of the type.
func (f fieldInfo) wanted(otherwise string) string {
	if f.want != "" {
		return f.want
	}
	return otherwise
}

type fieldInfos []fieldInfo

func (fs fieldInfos) byName(name string) (fieldInfo, bool) {
	for _, f := range fs {
		if f.name == name {
			return f, true
		}
	}
	return fieldInfo{}, false
}

// fieldsOf reads the tags of a struct type.
func fieldsOf(t reflect.Type) fieldInfos {
	var out fieldInfos
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, options, _ := strings.Cut(tag.Get("yaml"), ",")
		if name == "" {
			continue
		}
		f := fieldInfo{index: i, name: name, limits: tag.Get("range"), want: tag.Get("want"), each: tag.Get("each"), later: tag.Get("later")}
		for option := range strings.SplitSeq(options, ",") {
			f.required = f.required || option == "required"
			f.raw = f.raw || option == "raw"
		}
		if was := tag.Get("was"); was != "" {
			f.was = strings.Split(was, ",")
		}
		out = append(out, f)
	}
	return out
}

// Keys lists every key that Decode knows for v, a struct or a pointer to one, in the order of its fields: "sip.listen",
// "accounts[].aor". Keys that are not yet supported are among them.
func Keys(v any) []string {
	var out []string
	walk(reflect.TypeOf(v), "", nil, func(path string, _ fieldInfo) { out = append(out, path) })
	return out
}

// walk visits the keys of a schema; a type inside itself is visited once.
func walk(t reflect.Type, path string, inside []reflect.Type, visit func(path string, f fieldInfo)) {
	for t.Kind() == reflect.Pointer || isAt(t) {
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		} else {
			t = t.Field(0).Type
		}
	}
	switch t.Kind() {
	case reflect.Slice:
		walk(t.Elem(), path+"[]", inside, visit)
	case reflect.Struct:
		if slices.Contains(inside, t) {
			return
		}
		for _, f := range fieldsOf(t) {
			visit(join(path, f.name), f)
			walk(t.Field(f.index).Type, join(path, f.name), append(inside, t), visit)
		}
	default:
	}
}

// isAt tells whether t is an At of something.
func isAt(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == reflect.TypeFor[At[int]]().PkgPath() && strings.HasPrefix(t.Name(), "At[")
}
