package transaction

import (
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	seen := make(map[string]bool)
	for range 10_000 {
		s := token()
		if len(s) != 16 || strings.Trim(s, "0123456789abcdef") != "" {
			t.Fatalf("token %q", s)
		}
		if seen[s] {
			t.Fatalf("token %q twice", s)
		}
		seen[s] = true
	}
}

func TestSameHost(t *testing.T) {
	tests := []struct {
		name, a, b string
		want       bool
	}{
		{"equal", "192.0.2.1", "192.0.2.1", true},
		{"names differ in case", "Host.Example.COM", "host.example.com", true},
		{"IPv6 in two spellings", "2001:db8::1", "2001:DB8:0:0:0:0:0:1", true},
		{"IPv4 in IPv6", "::ffff:192.0.2.1", "192.0.2.1", true},
		{"other address", "192.0.2.1", "192.0.2.2", false},
		{"name and address", "host", "192.0.2.1", false},
		{"names", "a", "b", false},
		{"empty", "", "192.0.2.1", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := sameHost(tt.a, tt.b); got != tt.want {
				t.Errorf("sameHost(%q, %q) = %v", tt.a, tt.b, got)
			}
		})
	}
}

// Parts must not run into one another: "ab","c" is not "a","bc".
func TestHashKeepsPartsApart(t *testing.T) {
	l := New(Config{})
	if l.hash("ab", "c") == l.hash("a", "bc") || l.hash("a") == l.hash("a", "") {
		t.Error("different parts, same key")
	}
	once, again := l.hash("a", "b"), l.hash("a", "b")
	if once != again {
		t.Error("same parts, different keys")
	}
	if New(Config{}).hash("a", "b") == l.hash("a", "b") {
		t.Error("two Layers have the same keys")
	}
}
