package link

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"tandem/session"
)

// A guest whose WebRTC is a PeerConnection, as a browser's is, meets us: it
// knows S1 to S3 and package stream's frames and nothing else of ours.
func TestPeerConnectionGuest(t *testing.T) {
	guest, host := newDevice(t), newDevice(t)
	sigGuest, sigHost := pipe(nil)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	accepting := make(chan *Link, 1)
	go func() {
		l, err := Accept(ctx, Config{Identity: host, Handler: echo}, anyone, sigHost)
		if err != nil {
			t.Error(err)
		}
		accepting <- l
	}()

	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = pc.GracefulClose() }()
	negotiated, id := true, uint16(controlChannel)
	control, err := pc.CreateDataChannel("", &webrtc.DataChannelInit{Negotiated: &negotiated, ID: &id})
	if err != nil {
		t.Fatal(err)
	}
	messages, open := make(chan []byte, 8), make(chan struct{})
	control.OnOpen(func() { close(open) })
	control.OnMessage(func(m webrtc.DataChannelMessage) { messages <- m.Data })

	offer, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(offer); err != nil {
		t.Fatal(err)
	}
	<-gathered
	sdp := pc.LocalDescription().SDP
	d, err := parseDescription(sdp, setupOffer)
	if err != nil {
		t.Fatalf("%v in %s", err, sdp)
	}
	tr := transcript{
		kind: kindTrunk, context: contextDigest(nil), offerer: guest.ID(), answerer: host.ID(),
		expires: time.Now().Add(offerLifetime).Unix(), offerNonce: randomNonce(),
	}
	send(ctx, t, sigGuest, makeOffer(guest, &tr, d, sdp))
	for {
		b, err := sigGuest.Receive(ctx)
		if err != nil {
			t.Fatal(err)
		}
		e, err := parseEnvelope(b)
		if err != nil {
			t.Fatal(err)
		}
		if e.Type != typeAnswer {
			continue
		}
		if _, err := verifyAnswer(&e, &tr); err != nil {
			t.Fatal(err)
		}
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: e.SDP}); err != nil {
			t.Fatal(err)
		}
		break
	}
	wait(ctx, t, open)
	sendControl(t, control, makeConfirm(guest, &tr, offerer))
	e, err := parseEnvelope(next(ctx, t, messages))
	if err != nil {
		t.Fatal(err)
	}
	if err := verifyConfirm(&e, &tr, answerer); err != nil {
		t.Fatal(err)
	}
	sendControl(t, control, envelope{Type: typeReady})
	l := <-accepting
	if l == nil {
		t.FailNow()
	}
	if l.Peer().ID != guest.ID() {
		t.Errorf("peer %v", l.Peer())
	}

	dc, err := pc.CreateDataChannel("", nil)
	if err != nil {
		t.Fatal(err)
	}
	frames := make(chan []byte, 8)
	dc.OnMessage(func(m webrtc.DataChannelMessage) { frames <- m.Data })
	opened := make(chan struct{})
	dc.OnOpen(func() { close(opened) })
	wait(ctx, t, opened)
	header, err := json.Marshal(session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	const typeHeader, typeData = 1, 2
	for _, frame := range [][]byte{append([]byte{typeHeader}, header...), append([]byte{typeData}, "hello"...)} {
		if err := dc.Send(frame); err != nil {
			t.Fatal(err)
		}
	}
	for {
		if f := next(ctx, t, frames); f[0] == typeData {
			if string(f[1:]) != "hello" {
				t.Errorf("echo %q", f[1:])
			}
			break
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}

func send(ctx context.Context, t *testing.T, sig session.Signaler, e envelope) {
	t.Helper()
	b, err := e.marshal()
	if err == nil {
		err = sig.Send(ctx, b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func sendControl(t *testing.T, dc *webrtc.DataChannel, e envelope) {
	t.Helper()
	b, err := e.marshal()
	if err == nil {
		err = dc.Send(b)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func wait(ctx context.Context, t *testing.T, ch <-chan struct{}) {
	t.Helper()
	select {
	case <-ch:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

func next(ctx context.Context, t *testing.T, ch <-chan []byte) []byte {
	t.Helper()
	select {
	case b := <-ch:
		return b
	case <-ctx.Done():
		t.Fatal(ctx.Err())
		return nil
	}
}
