package forward

import (
	"bufio"
	"context"
	"io"
	"net"
	"time"

	"github.com/things-go/go-socks5"
	"github.com/things-go/go-socks5/statute"

	"tandem/session"
)

// greetingTimeout is how long a client of the proxy may take to say where it
// wants to go.
const greetingTimeout = 30 * time.Second

// nameless leaves names to the host, whose network they belong to.
type nameless struct{}

func (nameless) Resolve(ctx context.Context, _ string) (context.Context, net.IP, error) {
	return ctx, nil, nil
}

// socks serves the connections of a Dynamic forward as SOCKS5 (RFC 1928):
// CONNECT without authentication.
func (r *runner) socks(f Forward) func(context.Context, net.Conn) {
	return func(ctx context.Context, conn net.Conn) {
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		defer stop()
		_ = conn.SetDeadline(time.Now().Add(greetingTimeout))
		server := socks5.NewServer(
			socks5.WithResolver(nameless{}),
			socks5.WithConnectHandle(func(_ context.Context, _ io.Writer, request *socks5.Request) error {
				stop() // from here on the forward sees to it
				_ = conn.SetDeadline(time.Time{})
				r.connectSocks(ctx, f, conn, request)
				return nil
			}),
			socks5.WithAssociateHandle(func(_ context.Context, w io.Writer, _ *socks5.Request) error {
				return socks5.SendReply(w, statute.RepCommandNotSupported, nil)
			}),
		)
		_ = server.ServeConn(conn) // one that isn't SOCKS has nothing to be told; the others have had a reply
	}
}

// connectSocks carries the connection that a client of the proxy asks for.
func (r *runner) connectSocks(ctx context.Context, f Forward, conn net.Conn, request *socks5.Request) {
	from := addressOf(conn.RemoteAddr())
	target := Address{TCP, request.RawDestAddr.String()}
	st, err := r.dialSocks(ctx, target)
	code := statute.RepSuccess
	if err != nil {
		code = replyOf(err)
	}
	// The address that the host connects from is its own business.
	replyErr := socks5.SendReply(conn, code, &net.TCPAddr{IP: net.IPv4zero})
	if err != nil {
		r.report(ctx, Event{Event: Failed, Forward: f, Address: from, Target: target, Err: err})
		return
	}
	t := new(traffic)
	if replyErr == nil {
		replyErr = sendBuffered(st, request.Reader, t)
	}
	if replyErr != nil {
		_ = st.Reset(broken(replyErr)) // returns nil
		r.report(ctx, Event{Event: Failed, Forward: f, Address: from, Target: target, Err: broken(replyErr)})
		return
	}
	open := true
	r.emit(Event{Event: Opened, Forward: f, Address: from, Target: target})
	r.carry(ctx, Event{Forward: f, Address: from, Target: target}, st, conn, t, &open, nil)
}

func (r *runner) dialSocks(ctx context.Context, target Address) (session.Stream, error) {
	if err := target.check(false); err != nil {
		return nil, err
	}
	st, _, err := Dial(ctx, r.host, target)
	return st, err
}

// sendBuffered sends what a client said without waiting for the reply.
func sendBuffered(st session.Stream, from io.Reader, t *traffic) error {
	b, ok := from.(*bufio.Reader)
	if !ok || b.Buffered() == 0 {
		return nil
	}
	early, err := b.Peek(b.Buffered())
	if err == nil {
		_, err = st.Write(early)
		t.sent.Add(uint64(len(early)))
	}
	return err
}

// replyOf is what of an error can be said in SOCKS.
func replyOf(err error) uint8 {
	switch ReasonOf(err) {
	case NotGranted:
		return statute.RepRuleFailure
	case Refused:
		return statute.RepConnectionRefused
	case Unreachable, NoSuchName:
		return statute.RepHostUnreachable
	case TimedOut:
		return statute.RepTTLExpired
	}
	return statute.RepServerFailure
}
