package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"tandem/signaling"
)

// TestSlowClients has clients that never read, and clients that read a byte a
// second, while others write to them as much as the server takes. What the
// server holds stays bounded, and those who behave don't notice. TANDEM_SLOW
// says how many there are (200), for how long a minute.
func TestSlowClients(t *testing.T) {
	if testing.Short() {
		t.Skip("sends hundreds of megabytes")
	}
	clients, rounds, least := 200, 20, time.Duration(0)
	if n, err := strconv.Atoi(os.Getenv("TANDEM_SLOW")); err == nil {
		clients, least = n, time.Minute
	}
	b := fork(t, false)
	defer b.stop()
	before := b.resident(t)
	ctx, cancel := context.WithCancel(t.Context())
	var work sync.WaitGroup
	defer work.Wait()
	slow := make([]*benchClient, clients)
	defer func() {
		for _, c := range slow {
			if c != nil {
				_ = c.conn.Close()
			}
		}
	}()
	defer cancel()
	parallel(50, clients, func(i int) { slow[i] = b.client(t) })
	for i := 0; i < clients; i += 2 {
		work.Go(func() { slow[i].sip(ctx) })
	}
	var kinds [3]atomic.Int64 // sent, busy, gone
	for n := range 4 {
		c := b.client(t)
		defer c.conn.Close()
		work.Go(func() {
			for i := n; ctx.Err() == nil; i++ {
				switch c.push(slow[i%clients].mailbox) {
				case signaling.TypeSent:
					kinds[0].Add(1)
				case signaling.KindBusy:
					kinds[1].Add(1)
				default:
					kinds[2].Add(1)
				}
			}
		})
	}
	host, guest := b.client(t), b.client(t)
	defer host.conn.Close()
	defer guest.conn.Close()
	var peak int64
	var took []time.Duration
	start, done := time.Now(), 0
	for ; done < rounds || time.Since(start) < least || kinds[1].Load() == 0; done++ {
		began := time.Now()
		introduce(t, host, guest)
		took = append(took, time.Since(began))
		peak = max(peak, b.resident(t))
		if time.Since(start) > least+time.Minute {
			t.Fatal("nobody's queue is ever full")
		}
	}
	slices.Sort(took)
	t.Logf("%d slow clients for %v: server RSS %.0f -> at most %.0f MiB; %d messages to them sent, %d refused, %d to nobody; %d introductions meanwhile took %v, one in a hundred %v, the longest %v",
		clients, time.Since(start).Round(time.Second), mib(before), mib(peak), kinds[0].Load(), kinds[1].Load(), kinds[2].Load(),
		done, took[len(took)/2].Round(time.Millisecond), took[len(took)*99/100].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	// What waits is bounded by Limits.QueuedBytes, and Go's heap may be twice
	// what it holds; the rest is what a client costs by itself.
	if limit := before + 2*(64<<20) + int64(clients)*(32<<10) + 64<<20; peak > limit {
		t.Errorf("the server holds %.0f MiB, and %.0f is the limit", mib(peak), mib(limit))
	}
}

// resident is what the server holds at this moment, in bytes.
func (b *benchServer) resident(t *testing.T) int64 {
	t.Helper()
	statm, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", b.cmd.Process.Pid))
	if os.IsNotExist(err) {
		t.Skip("no /proc here")
	}
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(statm))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// sip reads a byte a second until it is disconnected.
func (c *benchClient) sip(ctx context.Context) {
	for {
		if _, err := c.conn.Read(make([]byte, 1)); err != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// push sends as large a message as there may be, and returns what became of it.
func (c *benchClient) push(to string) string {
	data, err := json.Marshal(signaling.Message{Type: signaling.TypeSend, ID: 1, To: to, Body: make([]byte, signaling.MaxBody)})
	if err != nil {
		return err.Error()
	}
	if err := ws.WriteFrame(c.conn, ws.MaskFrame(ws.NewTextFrame(data))); err != nil {
		return err.Error()
	}
	f, err := ws.ReadFrame(c.conn)
	if err != nil {
		return err.Error()
	}
	m, err := signaling.Decode(f.Payload)
	if err != nil || m.Type != signaling.TypeError {
		return m.Type
	}
	return m.Kind
}
