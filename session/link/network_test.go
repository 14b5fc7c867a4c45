package link

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/pion/transport/v4"
)

func fakeInterface(name string, flags net.Flags, addrs ...string) *transport.Interface {
	i := transport.NewInterface(net.Interface{Name: name, Flags: flags})
	for _, a := range addrs {
		p := netip.MustParsePrefix(a)
		i.AddAddress(&net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
	return i
}

func kept(interfaces []*transport.Interface) string {
	var all []string
	for _, i := range selectInterfaces(interfaces) {
		addrs, _ := i.Addrs()
		for _, a := range addrs {
			all = append(all, i.Name+"="+a.(*net.IPNet).IP.String())
		}
	}
	return strings.Join(all, " ")
}

func TestSelectInterfaces(t *testing.T) {
	const up = net.FlagUp
	lo := fakeInterface("lo", up|net.FlagLoopback, "127.0.0.1/8", "::1/128")
	eth := fakeInterface("eth0", up, "fe80::1/64", "2001:db8::1/64", "192.0.2.1/24")
	for _, c := range []struct {
		name string
		in   []*transport.Interface
		want string
	}{
		{"ordinary", []*transport.Interface{lo, eth}, "eth0=192.0.2.1 eth0=2001:db8::1"},
		{"nothing but loopback", []*transport.Interface{lo}, "lo=127.0.0.1 lo=::1"},
		{"only link-local beside it", []*transport.Interface{lo, fakeInterface("eth0", up, "fe80::1/64", "169.254.1.1/16")}, "lo=127.0.0.1 lo=::1"},
		{"down", []*transport.Interface{lo, fakeInterface("eth0", 0, "192.0.2.1/24")}, "lo=127.0.0.1 lo=::1"},
		{"bridges and overlays", []*transport.Interface{
			fakeInterface("docker0", up, "172.17.0.1/16"), fakeInterface("br-0123456789ab", up, "172.18.0.1/16"),
			fakeInterface("virbr0", up, "192.168.122.1/24"), fakeInterface("tailscale0", up, "100.64.0.1/32"),
			fakeInterface("wg0", up, "10.9.0.2/24"), eth,
		}, "wg0=10.9.0.2 eth0=192.0.2.1 eth0=2001:db8::1"},
	} {
		if got := kept(c.in); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}

	var many []*transport.Interface
	for i := range 50 {
		many = append(many, fakeInterface(fmt.Sprintf("eth%d", i), up, fmt.Sprintf("10.0.%d.1/24", i), fmt.Sprintf("10.1.%d.1/24", i)))
	}
	if got := strings.Fields(kept(many)); len(got) != maxHostCandidates || got[7] != "eth7=10.0.7.1" {
		t.Errorf("of fifty interfaces %v", got)
	}
	if got := strings.Fields(kept(many[:5])); len(got) != maxHostCandidates || got[0] != "eth0=10.0.0.1" || got[1] != "eth0=10.1.0.1" {
		t.Errorf("of five interfaces %v", got)
	}
}

func TestAcceptRemote(t *testing.T) {
	for _, c := range []struct {
		ip           string
		loopbackOnly bool
		want         bool
	}{
		{"192.0.2.1", false, true},
		{"10.0.0.1", false, true},
		{"2001:db8::1", false, true},
		{"127.0.0.1", false, false},
		{"127.0.0.1", true, true},
		{"::1", false, false},
		{"::ffff:127.0.0.1", false, false},
		{"169.254.169.254", true, false},
		{"fe80::1", true, false},
		{"0.0.0.0", true, false},
		{"::", true, false},
		{"224.0.0.1", true, false},
		{"ff02::1", true, false},
		{"255.255.255.255", true, false},
	} {
		if got := acceptRemote(net.ParseIP(c.ip), c.loopbackOnly); got != c.want {
			t.Errorf("%s with loopbackOnly=%v: %v", c.ip, c.loopbackOnly, got)
		}
	}
}

func TestRelayURLs(t *testing.T) {
	all := []Relay{{URLs: []string{
		"stun:stun.example", "turn:relay.example:3478?transport=udp", "turn:relay.example:3478?transport=tcp",
		"turns:relay.example:443", "nonsense", "turns:[2001:db8::1]:443?transport=tcp",
	}, Username: "u", Password: "p"}}
	urls, secure := relayURLs(all, false)
	if len(urls) != 5 || !secure["relay.example:443"] || !secure["[2001:db8::1]:443"] || len(secure) != 2 {
		t.Errorf("%v %v", urls, secure)
	}
	if urls, _ = relayURLs(all, true); len(urls) != 2 || urls[1].Username != "u" {
		t.Errorf("without relaying: %v", urls)
	}
	// A relay reached over UDP is a STUN server as well.
	all[0].URLs = append(all[0].URLs, "stun:relay.example:3478")
	if urls, _ = relayURLs(all, true); len(urls) != 2 {
		t.Errorf("asked twice: %v", urls)
	}
}

// connectProxy is an HTTP proxy that tunnels to target, whatever it is asked
// for, and notes what that was.
func connectProxy(t *testing.T, target string, asked chan<- string) *url.URL {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			reader := bufio.NewReader(conn)
			request, err := http.ReadRequest(reader)
			if err != nil {
				t.Error(err)
				return
			}
			asked <- request.Method + " " + request.Host + " " + request.Header.Get("Proxy-Authorization")
			if target == "" {
				_, _ = io.WriteString(conn, "HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
				_ = conn.Close()
				continue
			}
			// The tunnel's first bytes come together with the response.
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Long: "+strings.Repeat("x", 300)+"\r\n\r\n"+target)
			_ = conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close(); <-done })
	return &url.URL{Scheme: "http", Host: listener.Addr().String(), User: url.UserPassword("me", "pw")}
}

func TestConnectThroughProxy(t *testing.T) {
	asked := make(chan string, 1)
	via := connectProxy(t, "hello", asked)
	d := &relayDialer{proxy: func(*url.URL) (*url.URL, error) { return via, nil }}
	conn, err := d.Dial("tcp4", "relay.example:443")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(conn)
	if err != nil || string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	if _, ok := conn.LocalAddr().(*net.TCPAddr); !ok {
		t.Errorf("local address %T", conn.LocalAddr())
	}
	_ = conn.Close()
	if got := <-asked; got != "CONNECT relay.example:443 Basic bWU6cHc=" {
		t.Errorf("asked for %q", got)
	}
	via = connectProxy(t, "", asked)
	if _, err := d.Dial("tcp4", "relay.example:443"); err == nil || !strings.Contains(err.Error(), "407") {
		t.Errorf("refused: %v", err)
	}
}
