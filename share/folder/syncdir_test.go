package folder

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// TestDirSyncs shows that who comes while a call runs waits for the next one, that
// one serves all who wait, and that nobody waits for a call that began before.
func TestDirSyncs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDirSyncs()
		var calls atomic.Int32
		running := make(chan struct{})
		broken := errors.New("broken")
		call := func(string) error {
			n := calls.Add(1)
			<-running
			if n == 2 {
				return broken
			}
			return nil
		}
		first := make(chan error, 1)
		go func() { first <- d.sync("a", call) }()
		synctest.Wait()
		var late sync.WaitGroup
		for range 10 {
			late.Go(func() {
				if err := d.sync("a", call); !errors.Is(err, broken) {
					t.Errorf("a later one got %v", err)
				}
			})
		}
		synctest.Wait()
		if n := calls.Load(); n != 1 {
			t.Errorf("%d calls at once", n)
		}
		running <- struct{}{}
		if err := <-first; err != nil {
			t.Error(err)
		}
		running <- struct{}{}
		late.Wait()
		if n := calls.Load(); n != 2 {
			t.Errorf("%d calls for eleven", n)
		}
		if len(d.rounds) != 0 {
			t.Errorf("%d rounds are left", len(d.rounds))
		}
	})
}
