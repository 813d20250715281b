// Package ifwatch knows which local addresses a program may bind, tell others about, and send from, and why not the rest.
package ifwatch
