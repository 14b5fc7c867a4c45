package lan

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"
)

func TestMain(m *testing.M) {
	switch os.Getenv("LAN_TEST_ROLE") {
	case "advertise":
		advertiseUntilStdinEnds()
	case "loopback":
		onLoopbackOnly()
	default:
		goleak.VerifyTestMain(m)
	}
}

// advertiseUntilStdinEnds is the other process of TestTwoProcesses.
func advertiseUntilStdinEnds() {
	c, err := Advertise(context.Background(), os.Getenv("LAN_TEST_NAMEPLATE"), 4711)
	if err != nil {
		os.Stdout.WriteString(err.Error() + "\n")
		os.Exit(1)
	}
	os.Stdout.WriteString("ready\n")
	_, _ = os.Stdin.Read(make([]byte, 1))
	_ = c.Close()
	os.Exit(0)
}

// multicast skips a test where the machine has none.
func multicast(t *testing.T) network {
	t.Helper()
	n, err := survey()
	if err != nil {
		t.Fatal(err)
	}
	families, err := open(t.Context(), n)
	if err != nil {
		t.Skip("no multicast here: ", err)
	}
	for _, f := range families {
		_ = f.Close()
	}
	return n
}

func TestFind(t *testing.T) {
	n := multicast(t)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for _, nameplate := range []string{"481", "9021"} {
		c, err := Advertise(ctx, nameplate, 4711)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	urls, err := Find(ctx, "9021")
	if err != nil || len(urls) == 0 {
		t.Fatalf("Find = %v, %v", urls, err)
	}
	for _, u := range urls {
		addr, err := netip.ParseAddrPort(strings.TrimPrefix(u, "http://"))
		if err != nil || addr.Port() != 4711 || !n.ours(addr.Addr()) {
			t.Errorf("found %s", u)
		}
	}
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if urls, err := Find(short, "902"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Find of nobody = %v, %v", urls, err)
	}
}

func TestTwoProcesses(t *testing.T) {
	multicast(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "LAN_TEST_ROLE=advertise", "LAN_TEST_NAMEPLATE=77077")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}()
	line := make([]byte, 200)
	if n, _ := stdout.Read(line); string(line[:n]) != "ready\n" {
		t.Fatalf("the other process says %q", line[:n])
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	urls, err := Find(ctx, "77077")
	if err != nil || len(urls) == 0 {
		t.Fatalf("Find = %v, %v", urls, err)
	}
}

func TestArguments(t *testing.T) {
	for _, bad := range []string{"", "12", "1234567", "12a", "1.2", "０１２", strings.Repeat("1", 1000)} {
		if _, err := Find(t.Context(), bad); err == nil || errors.Is(err, ErrNotFound) {
			t.Errorf("Find(%q) = %v", bad, err)
		}
		if _, err := Advertise(t.Context(), bad, 1); err == nil {
			t.Errorf("Advertise(%q) worked", bad)
		}
	}
	if _, err := Advertise(t.Context(), "123", 0); err == nil {
		t.Error("Advertise of port 0 worked")
	}
}

var (
	addrs = []netip.Addr{netip.MustParseAddr("192.0.2.2"), netip.MustParseAddr("fd00::2")}
	ports = []netip.AddrPort{netip.MustParseAddrPort("192.0.2.2:4711"), netip.MustParseAddrPort("[fd00::2]:4711")}
)

const (
	goldenQuestion = "000000000001000000000000" +
		"055f34383231045f737562075f74616e64656d045f746370056c6f63616c00000c0001"
	goldenAnswer = "000084000000000100000004" +
		"055f34383231045f737562075f74616e64656d045f746370056c6f63616c00000c00010000000a" + // PTR
		"0007046162636dc017" +
		"c035002180010000000a0012000000001267046162636d056c6f63616c00" + // SRV
		"c035001080010000000a000f0e6e616d65706c6174653d34383231" + // TXT
		"046162636dc024000180010000000a0004c0000202" + // A
		"c075001c80010000000a0010fd000000000000000000000000000002" // AAAA
)

func TestGolden(t *testing.T) {
	q, err := question("4821")
	if err != nil || hex.EncodeToString(q) != goldenQuestion {
		t.Errorf("question %x, %v", q, err)
	}
	got, ok := parseQuestion(q, "4821")
	if !ok {
		t.Fatal("the question is not understood")
	}
	a, err := answer("4821", "abcm", 4711, addrs, got, false)
	if err != nil || hex.EncodeToString(a) != goldenAnswer {
		t.Errorf("answer %x, %v", a, err)
	}
	if found := parseAnswer(a, "4821"); !slices.Equal(found, ports) {
		t.Errorf("the answer says %v", found)
	}
	if found := parseAnswer(a, "482"); found != nil {
		t.Errorf("another nameplate's answer says %v", found)
	}
	if found := parseAnswer(q, "4821"); found != nil {
		t.Errorf("a question says %v", found)
	}
	if _, ok := parseQuestion(a, "4821"); ok {
		t.Error("an answer counts as a question")
	}
}

// A questioner that is no multicast DNS host gets its id and question back.
func TestLegacyAnswer(t *testing.T) {
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 77}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName("_TANDEM._tcp.local."), Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET | unicast},
	}}
	data, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	q, ok := parseQuestion(data, "4821")
	if !ok {
		t.Fatal("the question is not understood")
	}
	a, err := answer("4821", "abcm", 4711, addrs, q, true)
	if err != nil {
		t.Fatal(err)
	}
	var got dnsmessage.Message
	if err := got.Unpack(a); err != nil {
		t.Fatal(err)
	}
	if got.ID != 77 || len(got.Questions) != 1 || got.Questions[0].Class != dnsmessage.ClassINET || len(got.Answers) != 2 {
		t.Errorf("answer %+v", got)
	}
	if found := parseAnswer(a, "4821"); !slices.Equal(found, ports) {
		t.Errorf("the answer says %v", found)
	}
}

func TestBelievable(t *testing.T) {
	n := network{ifaces: []iface{
		{prefixes: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/8"), netip.MustParsePrefix("::1/128")}},
		{prefixes: []netip.Prefix{netip.MustParsePrefix("192.168.1.5/24"), netip.MustParsePrefix("fd00::5/64"), netip.MustParsePrefix("fe80::5/64")}},
	}}
	for _, test := range []struct {
		src, addr string
		ok        bool
	}{
		{"192.168.1.9", "192.168.1.9", true},
		{"192.168.1.9", "192.168.1.10", true},
		{"fe80::9%eth0", "fd00::9", true},
		{"192.168.1.5", "127.0.0.1", true}, // from this machine
		{"127.0.0.1", "192.168.1.5", true},
		{"192.168.1.9", "127.0.0.1", false},   // a stranger points at us
		{"192.168.1.9", "192.168.1.5", false}, // the same
		{"192.168.1.9", "::1", false},
		{"192.168.1.9", "203.0.113.1", false}, // off the network
		{"203.0.113.1", "192.168.1.9", false},
		{"192.168.1.9", "fe80::9", false},
		{"192.168.1.9", "0.0.0.0", false},
		{"192.168.1.9", "224.0.0.1", false},
	} {
		got := believable(n, netip.MustParseAddr(test.src), []netip.AddrPort{netip.AddrPortFrom(netip.MustParseAddr(test.addr), 80)})
		if (len(got) == 1) != test.ok {
			t.Errorf("%s sends us to %s: %v", test.src, test.addr, got)
		}
	}
}

func TestReachable(t *testing.T) {
	for _, test := range []struct{ prefixes, want []string }{
		{[]string{"192.168.1.5/24", "169.254.3.4/16", "fe80::5/64", "fd00::5/64"}, []string{"192.168.1.5", "fd00::5"}},
		{[]string{"169.254.3.4/16", "fe80::5/64"}, []string{"169.254.3.4"}},
	} {
		var i iface
		for _, p := range test.prefixes {
			i.prefixes = append(i.prefixes, netip.MustParsePrefix(p))
		}
		var got []string
		for _, a := range i.reachable() {
			got = append(got, a.String())
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("reachable of %v = %v", test.prefixes, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, h := range []string{goldenQuestion, goldenAnswer, "", "00"} {
		data, err := hex.DecodeString(h)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add(bytes.Repeat([]byte{0xc0}, maxMessage+1))
	f.Fuzz(func(t *testing.T, data []byte) {
		found := parseAnswer(data, "4821")
		if len(found) > maxURLs {
			t.Errorf("%d addresses", len(found))
		}
		q, ok := parseQuestion(data, "4821")
		if ok && found != nil {
			t.Error("both a question and an answer")
		}
		if !ok {
			return
		}
		for _, legacy := range []bool{false, true} {
			a, err := answer("4821", "abcm", 4711, addrs, q, legacy)
			if err != nil {
				t.Fatalf("no answer to %+v: %v", q, err)
			}
			if !slices.Equal(parseAnswer(a, "4821"), ports) {
				t.Errorf("the answer to %+v says something else", q)
			}
		}
	})
}
