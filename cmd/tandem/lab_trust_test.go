//go:build linux

package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"tandem/internal/natlab"
	"tandem/session"
)

// TestLabNothingInTheClear records all that a server and its relay carry while two peers pair, talk,
// copy files and move, and looks for what is theirs alone.
func TestLabNothingInTheClear(t *testing.T) {
	l := newLab(t)
	wan := l.WAN(natlab.Link{Delay: 5 * time.Millisecond})
	place := wan.Host("server")
	tape := place.Wire().Capture(256 << 20)
	s := l.server(t, place, nil)
	hostNAT, guestNAT := wan.NAT(natlab.Symmetric), wan.NAT(natlab.Symmetric)
	hostAt, guestAt := hostNAT.Host("host"), guestNAT.Host("guest")

	const (
		hostName  = "mulberry-workstation"
		guestName = "persimmon-laptop"
		typed     = "quincunx-command-output"
		fileName  = "tamarind-ledger.txt"
		putName   = "kumquat-minutes.txt"
		content   = "the-cherimoya-balance-is-overdrawn"
		putText   = "the-rambutan-vote-was-unanimous"
	)
	const plain = "TANDEM_INSECURE=true"
	host, guest := l.device(t, hostAt, hostName, plain), l.device(t, guestAt, guestName, plain)
	m := meet(t, host, guest, []string{s.url}, []string{s.url})
	m.guest.awaitPath(t, m.peer, session.Relayed, hangs)
	lanAddresses := []netip.Addr{hostAt.Addr(), guestAt.Addr()}

	if out := guest.run(t, "shell", m.peer, "--", "echo", typed); !strings.Contains(out, typed) {
		t.Fatalf("the shell printed %q", out)
	}
	writeText(t, filepath.Join(m.folder, fileName), content)
	got, put := filepath.Join(guest.home, fileName), filepath.Join(guest.home, putName)
	guest.run(t, "get", m.peer+":shared/"+fileName, got)
	if text, err := os.ReadFile(got); err != nil || string(text) != content {
		t.Fatalf("got %q, %v", text, err)
	}
	writeText(t, put, putText)
	guest.run(t, "put", put, m.peer+":shared/")
	guest.run(t, "ls", m.peer+":shared")

	// A restart of the path goes over the server as well.
	guestAt.Readdress()
	lanAddresses = append(lanAddresses, guestAt.Addr())
	guest.run(t, "shell", m.peer, "--", "echo", typed)
	path := guest.awaitPath(t, m.peer, session.Relayed, hangs)
	if path.Local.Addr.Addr() != guestAt.Addr() && path.Local.Type == "host" {
		t.Errorf("the path has not changed: %+v", path)
	}
	tape.Stop()
	if n := tape.Missed(); n > 0 {
		t.Fatalf("the recording lacks %d packets", n)
	}

	carried := carriedTexts(tape.Packets())
	// The search is only worth something if it finds what is there.
	nameplate, words, _ := strings.Cut(m.invite.Code, "-")
	for what, text := range map[string]string{
		"the guest's first message": `"nameplate/` + nameplate + `"`, // masked on its way to the server
		"the relay":                 "tandem\x00\x00",                // its realm, padded
	} {
		if !carried.contain(regexp.MustCompile(regexp.QuoteMeta(text))) {
			t.Fatalf("the recording lacks %s", what)
		}
	}
	if relayed := s.relayed(t); relayed < 10_000 {
		t.Fatalf("the relay has carried %d bytes only", relayed)
	}

	secrets := []string{hostName, guestName, typed, fileName, putName, content, putText, "shared", secretOf(m.invite.Link)}
	list := strings.Split(words, "-")
	for i, word := range list {
		if i > 0 {
			secrets = append(secrets, list[i-1]+"-"+word)
		}
		if len(word) >= 6 { // shorter ones turn up by chance
			secrets = append(secrets, word)
		}
	}
	for _, addr := range lanAddresses {
		secrets = append(secrets, addr.String())
	}
	for _, secret := range secrets {
		if carried.contain(regexp.MustCompile("(?i)" + regexp.QuoteMeta(secret))) {
			t.Errorf("%q is in the clear", secret)
		}
	}
	for _, addr := range lanAddresses {
		for form, mask := range map[string]uint32{"as it is": 0, "as STUN hides it from NATs": 0x2112a442} {
			raw := addr.As4()
			masked := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(raw[:])^mask)
			// An address of STUN: a zero, the family, the port, and this.
			if carried.contain(regexp.MustCompile(`(?s)\x00\x01..` + quoteBytes(masked))) {
				t.Errorf("the address %v is in the clear, %s", addr, form)
			}
		}
	}
	t.Logf("searched %d texts, %d bytes, for %d secrets", len(carried), carried.size(), len(secrets))
}

// secretOf is the secret of an invite's link: https://server/j#nameplate.secret.host
func secretOf(link string) string {
	parts := strings.Split(link, ".")
	return parts[len(parts)-2]
}

func quoteBytes(b []byte) string {
	var s strings.Builder
	for _, c := range b {
		fmt.Fprintf(&s, `\x%02x`, c)
	}
	return s.String()
}

// texts is what was carried, in every form that needs no key to see. Each byte is a rune, for
// regular expressions to match any of them.
type texts []string

func (t texts) contain(pattern *regexp.Regexp) bool {
	return slices.ContainsFunc(t, pattern.MatchString)
}

func (t texts) size() (n int) {
	for _, text := range t {
		n += utf8.RuneCountInString(text)
	}
	return n
}

// carriedTexts are the streams and datagrams of a recording, the WebSocket messages in the streams
// without their masks, and whatever is written there in base64 or hexadecimal.
func carriedTexts(packets []natlab.Packet) texts {
	type flow struct {
		proto    natlab.Protocol
		src, dst netip.AddrPort
	}
	flows := map[flow][]natlab.Packet{}
	for _, p := range packets {
		f := flow{p.Proto, p.Src, p.Dst}
		flows[f] = append(flows[f], p)
	}
	var list [][]byte
	for f, packets := range flows {
		text := assemble(f.proto, packets)
		list = append(list, text)
		if _, frames, ok := bytes.Cut(text, []byte("\r\n\r\n")); ok && f.proto == natlab.TCP {
			list = append(list, unmask(frames))
		}
	}
	encoded := []struct {
		pattern *regexp.Regexp
		decode  func(string) ([]byte, error)
	}{
		{regexp.MustCompile(`[A-Za-z0-9+/]{16,}`), base64.RawStdEncoding.DecodeString},
		{regexp.MustCompile(`[A-Za-z0-9_-]{16,}`), base64.RawURLEncoding.DecodeString},
		{regexp.MustCompile(`[0-9a-fA-F]{16,}`), hex.DecodeString},
	}
	for i := 0; i < len(list); i++ { // what was decoded may hold more of it
		for _, e := range encoded {
			for _, found := range e.pattern.FindAll(list[i], -1) {
				if plain, err := e.decode(string(found)); err == nil {
					list = append(list, plain)
				}
			}
		}
	}
	var all texts
	for _, text := range list {
		runes := make([]rune, len(text))
		for i, b := range text {
			runes[i] = rune(b)
		}
		all = append(all, string(runes))
	}
	return all
}

// assemble joins what the packets of one direction of a flow carry: TCP's by sequence number, once.
func assemble(proto natlab.Protocol, packets []natlab.Packet) (text []byte) {
	if proto != natlab.TCP {
		for _, p := range packets {
			text = append(text, p.Payload...)
		}
		return text
	}
	sequence := func(p natlab.Packet) uint32 {
		header := p.Raw[len(p.Raw)-len(p.Payload)-tcpHeader(p):]
		return binary.BigEndian.Uint32(header[4:])
	}
	var first uint32
	for _, p := range packets {
		if len(p.Payload) > 0 {
			first = sequence(p)
			break
		}
	}
	for _, p := range packets {
		at := int(int32(sequence(p) - first))
		if len(p.Payload) == 0 || at < 0 {
			continue
		}
		if end := at + len(p.Payload); end > len(text) {
			text = append(text, make([]byte, end-len(text))...)
		}
		copy(text[at:], p.Payload)
	}
	return text
}

// tcpHeader is the length of an IPv4 packet's TCP header.
func tcpHeader(p natlab.Packet) int {
	ip := int(p.Raw[0]&15) * 4
	return int(p.Raw[ip+12]>>4) * 4
}

// unmask joins the payloads of a sequence of WebSocket frames (RFC 6455, section 5.2).
func unmask(b []byte) (text []byte) {
	for len(b) >= 2 {
		length, masked := int(b[1]&0x7f), b[1]&0x80 != 0
		b = b[2:]
		switch {
		case length == 126 && len(b) >= 2:
			length, b = int(binary.BigEndian.Uint16(b)), b[2:]
		case length == 127 && len(b) >= 8:
			length, b = int(binary.BigEndian.Uint64(b)), b[8:]
		}
		key := make([]byte, 4)
		if masked && len(b) >= 4 {
			copy(key, b)
			b = b[4:]
		}
		if length < 0 || length > len(b) {
			return text
		}
		for i, c := range b[:length] {
			text = append(text, c^key[i%4])
		}
		b = b[length:]
	}
	return text
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
