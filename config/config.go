// Package config reads gosipua's configuration file.
//
// [Load] turns the YAML into the types of the packages that use them, and reports everything that is wrong with a file in one
// run, each problem with its line and column and with what was expected instead. Keys that belong to something not built yet are
// refused as "not yet supported": a file never asks for what it silently does not get. The keys and their defaults are
// explained in config.example.yaml.
//
// The package reads files and environment variables, as the keys ask for; it opens no sockets and looks at no interfaces, so that a
// file can be checked on another machine than the one it is for.
package config

import (
	"errors"
	"log/slog"
	"net/netip"

	"github.com/gosipua/gosipua/ifwatch"
	"github.com/gosipua/gosipua/internal/yamlpos"
	"github.com/gosipua/gosipua/transport"
	"github.com/gosipua/gosipua/ua"
)

// Problem is one finding at one place of a file. It prints as FILE:LINE:COL: text.
type Problem = yamlpos.Problem

// Problems gives the findings that an error of [Load] consists of, in the order of the file; none if the file could not be read.
func Problems(err error) []Problem {
	var all yamlpos.Errors
	errors.As(err, &all)
	return all
}

// Config is a configuration in the types that gosipua works with.
type Config struct {
	// Policy is net_interface, net_af and the net section.
	Policy ifwatch.Policy

	// Listen is sip.listen, and SIPDSCP sip.dscp (0 to 63).
	Listen  []transport.Listen
	SIPDSCP int

	// Advertise is net.advertise: local addresses and what the world calls them.
	Advertise map[netip.Addr]netip.Addr

	// RTPMin and RTPMax are rtp.ports, both included; RTPDSCP is rtp.dscp (0 to 63).
	RTPMin, RTPMax uint16
	RTPDSCP        int

	// Accounts are the accounts in the order of the file. Passwords have been read from where the file says they are.
	Accounts []ua.Account

	// Source and Player are audio.source and audio.player, "driver,argument", with file names made absolute or relative to the
	// working directory.
	Source, Player string

	// LogLevel and LogJSON are the log section.
	LogLevel slog.Level
	LogJSON  bool

	// Warnings is what is allowed but probably not meant.
	Warnings []Problem
}
