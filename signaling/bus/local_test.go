package bus_test

import (
	"testing"

	"tandem/signaling/bus"
	"tandem/signaling/bus/bustest"
)

func TestLocal(t *testing.T) {
	bustest.Run(t, func(*testing.T) (a, b bus.Bus) {
		l := bus.NewLocal()
		return l, l
	})
}
