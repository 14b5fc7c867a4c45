package node

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"

	"tandem/session"
	"tandem/signaling/lan"
	"tandem/signaling/server"
)

// embedded is a signaling server for the local network, run by a node that
// knows no other.
type embedded struct {
	port    uint16
	server  *server.Server
	http    *http.Server
	serving sync.WaitGroup
}

// startEmbedded listens on every address of this machine: guests come from
// the local network.
func startEmbedded(cfg server.Config) (*embedded, error) {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return nil, &session.Error{Op: "start a signaling server", Err: err}
	}
	e := &embedded{port: uint16(l.Addr().(*net.TCPAddr).Port), server: server.New(cfg)}
	e.http = e.server.HTTPServer()
	e.serving.Go(func() { _ = e.http.Serve(l) }) // until Close
	return e, nil
}

// own is the address for this machine itself.
func (e *embedded) own() string { return "http://127.0.0.1:" + strconv.Itoa(int(e.port)) }

// addresses are URLs for the local network, the likeliest first, and for this
// machine last.
func (e *embedded) addresses() ([]string, error) {
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		return nil, &session.Error{Op: "list this machine's addresses", Err: err}
	}
	var v4, v6 []string
	for _, a := range addrs {
		p, err := netip.ParsePrefix(a.String())
		if err != nil {
			continue
		}
		addr := p.Addr().Unmap()
		if addr.IsLoopback() || addr.IsLinkLocalUnicast() {
			continue
		}
		url := "http://" + netip.AddrPortFrom(addr, e.port).String()
		if addr.Is4() {
			v4 = append(v4, url)
		} else {
			v6 = append(v6, url)
		}
	}
	urls := slices.Concat(v4, v6)
	// A link holds eight; one stays for this machine.
	return append(urls[:min(len(urls), 7)], e.own()), nil
}

// advertise lets guests on the local network find the server by a nameplate,
// until the result is closed.
func (e *embedded) advertise(ctx context.Context, nameplate string) (io.Closer, error) {
	advert, err := lan.Advertise(context.WithoutCancel(ctx), nameplate, e.port)
	if err != nil {
		return nil, &session.Error{Op: "answer on the local network", Err: err}
	}
	return advert, nil
}

// Close ends the server and everything connected to it.
func (e *embedded) Close() error {
	err := errors.Join(e.server.Close(), e.http.Close())
	e.serving.Wait()
	return err
}
