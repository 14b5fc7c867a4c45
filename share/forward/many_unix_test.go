//go:build unix

package forward

import (
	"bytes"
	"net"
	"sync"
	"syscall"
	"testing"
)

func TestManyConnections(t *testing.T) {
	const n = 2000
	target := listenTCP(t, echo)
	b := newBench(t, Config{}, "connect localhost:*")
	r, at := forwardOne(t, b.alice, Local, "0:"+target.String())
	// The file limit is four for each: two ends of two connections.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < 4*n+200 {
		t.Skipf("the limit on files is %d", limit.Cur)
	}
	conns := make([]net.Conn, n)
	for i := range conns {
		conns[i] = dial(t, at)
	}
	r.await(Opened, n)
	var work sync.WaitGroup
	for i, conn := range conns {
		work.Go(func() {
			text := bytes.Repeat([]byte{byte(i)}, 3000+i)
			if got, err := converse(t, conn, string(text)); err != nil || got != string(text) {
				t.Errorf("connection %d: %d bytes, %v", i, len(got), err)
			}
		})
	}
	work.Wait()
	if totals, err := r.stop(); err != nil || totals.Connections != n || totals.Sent != totals.Received {
		t.Errorf("%+v, %v", totals, err)
	}
}
