package ifwatch_test

import (
	"testing"

	"github.com/gosipua/gosipua/internal/netlab"
)

func TestMain(m *testing.M) { netlab.Main(m) }
