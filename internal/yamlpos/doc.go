// Package yamlpos reads YAML into Go structs and reports every mistake with its place.
//
// [Decode] fills a struct whose fields carry the names of the keys, and collects all that is wrong in one pass: syntax, unknown
// keys (with the likely one meant), duplicate keys, wrong types, values out of range, missing keys, and keys that are known but
// not yet supported. Each is a [Problem] that prints as FILE:LINE:COL: text, the form editors jump to.
//
//	type file struct {
//		Listen  []yamlpos.At[string] `yaml:"listen,required"`
//		DSCP    int                  `yaml:"dscp" range:"0..63"`
//		Expires time.Duration        `yaml:"expires" range:"1s..24h"`
//		TLS     string               `yaml:"tls" later:"TLS comes with a later version"`
//	}
//
// # Tags
//
//   - yaml:"name" names the key; a field without it is not read. Options follow after commas: required (the key must be there) and
//     raw (a string field also takes numbers and booleans, as the text they are written as: passwords, telephone numbers).
//   - range:"LOW..HIGH" bounds a number or a duration, both ends included.
//   - want:"text" replaces what a message says was expected; each:"text" does so for the values in a list or map.
//   - later:"text" makes a known key whose value must stay empty for now: anything else is "not yet supported: text".
//   - was:"name,name" lists names that other programs use for this key, for "did you mean".
//
// # Types
//
// Fields may be string, bool, the integer and float types, [time.Duration] ("30s"), any type with an UnmarshalText method (so
// [net/netip.Addr]), structs, pointers, slices, maps whose keys are text, [At] of any of these where the position is needed
// afterwards, and [Many]. A key that is absent leaves its field as it was, so defaults are set before Decode; values that Decode
// makes itself (of lists, maps and pointers) have their method SetDefaults called, if there is one. A key without
// a value ("accounts:") counts as empty for structs, slices and maps, and is a mistake for everything else.
//
// # YAML
//
// One document per file, UTF-8, at most 1 MiB. Anchors, aliases and the merge key "<<" work; a file in which they multiply
// beyond 100,000 values is refused. Tags of one's own (!name) are refused, because an unquoted pattern such as !virbr* is one.
//
// # Goroutines
//
// There is no shared state: Decode may be called from any goroutine.
package yamlpos
