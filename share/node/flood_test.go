//go:build unix

package node

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"sync"
	"testing"
	"time"

	"tandem/session"
	"tandem/share/command"
	"tandem/share/facts"
	"tandem/share/forward"
	"tandem/share/terminal"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// A guest opens requests as fast as it can, of every sort that it was granted
// and of others, and leaves each at once. Another guest's programs run
// meanwhile, and nothing is left of the flood.
func TestTrustFloodOfRequests(t *testing.T) {
	count := 1500
	if testing.Short() {
		count = 300
	}
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob, mallory := begin(t, "alice", url), begin(t, "bob", url), begin(t, "mallory", url)
	port := echo(t)
	invite := alice.share(t, Share{Terminal: true, Forward: []string{port}, ForwardListen: []string{"*"}, Uses: 2})
	bob.meet(t, invite.Code)
	mallory.meet(t, invite.Code)

	params := func(v any) json.RawMessage {
		raw, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return raw
	}
	target := map[string]string{"network": "tcp", "address": "localhost:" + port}
	nowhere := map[string]string{"network": "tcp", "address": "localhost:1"}
	anyPort := map[string]string{"network": "tcp", "address": "localhost:0"}
	requests := []session.Header{
		{Service: command.ServiceName, Action: command.Run, Params: params(map[string]any{"argv": []string{"sleep", "1000"}})},
		{Service: command.ServiceName, Action: command.Run, Params: params(map[string]any{"argv": []string{"no-such-program"}})},
		{Service: terminal.ServiceName, Action: string(terminal.View)},
		{Service: forward.ServiceName, Action: forward.Connect, Params: params(target)},
		{Service: forward.ServiceName, Action: forward.Connect, Params: params(nowhere)},
		{Service: forward.ServiceName, Action: forward.Listen, Params: params(anyPort)},
		{Service: facts.ServiceName, Action: facts.Read},
		{Service: "backup/9", Action: "erase"},
		{Service: command.ServiceName, Resource: "nothing", Action: "run", Params: bytes.Repeat([]byte("1"), 30<<10)},
	}
	ctx, stop := context.WithTimeout(t.Context(), 2*soon)
	defer stop()
	var flooding sync.WaitGroup
	opened := 0
	flooding.Go(func() {
		begun := time.Now()
		s := mallory.host.Session(alice.device.ID())
		var err error
		for ; opened < count && err == nil; opened++ {
			var st session.Stream
			if st, err = s.Open(ctx, requests[opened%len(requests)]); err == nil {
				_ = st.Close()
			}
		}
		t.Logf("%d requests in %v, and then %v", opened, time.Since(begun), err)
	})
	for range 10 {
		c, err := command.Start(within(t), Bound{Backend: bob, Peer: "alice"}, command.Request{Argv: []string{"echo", "fine"}})
		if err != nil {
			t.Fatal(err)
		}
		_ = c.End()
		var out bytes.Buffer
		if exit, err := c.Wait(&out, io.Discard); err != nil || exit.Code != 0 || out.String() != "fine\n" {
			t.Errorf("%+v, %v, %q", exit, err, out.String())
		}
	}
	flooding.Wait()
	_ = mallory.host.Session(alice.device.ID()).Close()
	signalingtest.Eventually(t, "nothing is left", func() bool {
		began, ended := len(alice.all(EventJoined)), len(alice.all(EventLeft))
		return began == ended+1
	})
	t.Logf("%d requests were refused or counted, %d begun", len(alice.all(EventDenied)), len(alice.all(EventOpened)))
}
