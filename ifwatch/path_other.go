//go:build !linux

package ifwatch

import (
	"context"
	"errors"
	"syscall"
)

func lookupRoute(context.Context, RouteQuery) (Route, error) { return Route{}, errors.ErrUnsupported }

func readTables(context.Context) (*Tables, error) { return nil, errors.ErrUnsupported }

// prepareProbe has nothing to do: only Linux has the options.
func prepareProbe(syscall.RawConn, string, TemporaryPolicy) error { return nil }
