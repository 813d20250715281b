// Package transport moves SIP messages between this host's usable addresses and its peers.
package transport
