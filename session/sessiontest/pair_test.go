package sessiontest_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"tandem/session"
	"tandem/session/sessiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a service that sends back what it receives.
type echo struct{}

func (echo) Name() string { return "echo/1" }

func (echo) Serve(_ context.Context, o session.Offer) error {
	st, err := o.Accept()
	if err != nil {
		return err
	}
	if _, err := io.Copy(st, st); err != nil {
		return st.Reset(err)
	}
	return st.Close()
}

func TestPairServes(t *testing.T) {
	a, b := sessiontest.Pair(t, nil, sessiontest.Serve(echo{}))
	if a.Peer().Name != "bob" || b.Peer().Name != "alice" {
		t.Fatalf("peers are %v and %v", a.Peer(), b.Peer())
	}
	st, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(st, "over there"); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(st); err != nil || string(got) != "over there" {
		t.Fatalf("echo = %q, %v", got, err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		s       *sessiontest.Session
		service string
	}{{a, "other/1"}, {b, "echo/1"}} {
		st, err := c.s.Open(t.Context(), session.Header{Service: c.service})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.NotFound {
			t.Errorf("%s: %v, want not-found", c.service, err)
		}
	}
}

func TestCut(t *testing.T) {
	a, b := sessiontest.Pair(t, nil, sessiontest.Serve(echo{}))
	st, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	a.Cut()
	if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Unavailable {
		t.Errorf("Read after Cut: %v", err)
	}
	<-b.Done()
	if session.KindOf(b.Err()) != session.Unavailable {
		t.Errorf("Err = %v", b.Err())
	}
	if _, err := b.Open(t.Context(), session.Header{Service: "echo/1"}); session.KindOf(err) != session.Unavailable {
		t.Errorf("Open after Cut: %v", err)
	}
}

// permits allows everything until it is closed.
type permits chan struct{}

func (p permits) Allow(_ context.Context, r session.Request) (session.Permit, error) {
	if r.Action != "echo" {
		return session.Permit{}, session.Errorf("allow", session.Denied, "not granted")
	}
	return session.Permit{Revoked: p}, nil
}

func TestGuarded(t *testing.T) {
	p := make(permits)
	cause := make(chan error, 2)
	a, _ := sessiontest.Pair(t, nil, sessiontest.Guarded(p, caused{echo{}, cause}))
	st, err := a.Open(t.Context(), session.Header{Service: "echo/1", Action: "shout"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Denied {
		t.Errorf("ungranted action: %v", err)
	}
	st, err = a.Open(t.Context(), session.Header{Service: "echo/1", Action: "echo"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	close(p)
	if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Revoked {
		t.Errorf("after revocation: %v", err)
	}
	if why := <-cause; session.KindOf(why) != session.Revoked {
		t.Errorf("the service's context ended because of %v", why)
	}
}

// caused tells why its service's context had ended when it was served.
type caused struct {
	session.Service
	cause chan error
}

func (c caused) Serve(ctx context.Context, o session.Offer) error {
	err := c.Service.Serve(ctx, o)
	<-ctx.Done()
	c.cause <- context.Cause(ctx)
	return err
}

func TestDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, _ := sessiontest.Pair(t, nil, sessiontest.Serve(echo{}), sessiontest.Delay(25*time.Millisecond))
		st, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if _, err := st.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(st, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(start); d != 50*time.Millisecond { // the bubble's clock
			t.Errorf("round trip took %v", d)
		}
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
	})
}

func TestUnansweredOfferIsRejected(t *testing.T) {
	a, _ := sessiontest.Pair(t, nil, func(context.Context, session.Offer) {})
	st, err := a.Open(t.Context(), session.Header{Service: "echo/1"})
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Read(make([]byte, 1))
	var se *session.Error
	if !errors.As(err, &se) || se.Kind != session.Internal {
		t.Errorf("Read = %v", err)
	}
}
