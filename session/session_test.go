package session

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestPeerIDText(t *testing.T) {
	var id PeerID
	copy(id[:], ed25519.NewKeyFromSeed(make([]byte, 32)).Public().(ed25519.PublicKey))
	text := id.String()
	if len(text) != 52 || text != strings.ToLower(text) {
		t.Fatalf("String = %q", text)
	}
	back, err := ParsePeerID(text)
	if err != nil || back != id {
		t.Fatalf("ParsePeerID(%q) = %v, %v", text, back, err)
	}
	last := text[:51] + "b" // differs only in bits that carry nothing
	for _, bad := range []string{"", "x", text + "a", text[:51], last, strings.Repeat("1", 52)} {
		if got, err := ParsePeerID(bad); err == nil && got.String() != bad {
			t.Errorf("ParsePeerID(%q) = %v, want an error", bad, got)
		}
	}
}

func TestErrorKinds(t *testing.T) {
	missing := Errorf("get", NotFound, "notes.txt: %w", fs.ErrNotExist)
	for _, c := range []struct {
		err  error
		kind Kind
		text string
	}{
		{missing, NotFound, "notes.txt: file does not exist"},
		{fmt.Errorf("over there: %w", missing), NotFound, "notes.txt: file does not exist"},
		{context.DeadlineExceeded, Timeout, ""},
		{fmt.Errorf("x: %w", context.Canceled), Canceled, ""},
		{errors.New("secret path /root"), Internal, ""},
		{&Error{Op: "outer", Err: missing}, NotFound, ""},
	} {
		kind, text := Public(c.err)
		if kind != c.kind || text != c.text {
			t.Errorf("Public(%v) = %q, %q; want %q, %q", c.err, kind, text, c.kind, c.text)
		}
	}
	if !errors.Is(missing, fs.ErrNotExist) {
		t.Error("the cause is lost")
	}
	if got := missing.Error(); got != "get: notes.txt: file does not exist" {
		t.Errorf("Error() = %q", got)
	}
	hostile := FromWire("get", "root-granted", "\x1b]0;pwned\a"+strings.Repeat("x", 5000))
	if hostile.Kind != Internal || len(hostile.Text) > 3*MaxErrorText || strings.ContainsAny(hostile.Text, "\x1b\a") {
		t.Errorf("FromWire kept %q (%d bytes)", hostile.Kind, len(hostile.Text))
	}
}

func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"café", "e\u0301", "\x1b[31m", "a\u202eb", "\xff\xfe", "x\u200by", "line\u2028", "\u009b31m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Printable(s)
		if !utf8.ValidString(got) {
			t.Fatalf("not UTF-8: %q", got)
		}
		for _, r := range got {
			if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 {
				t.Fatalf("kept %U", r)
			}
		}
		if Printable(got) != got {
			t.Fatal("not idempotent")
		}
		if name := PrintableName(s); len(name) > MaxName || !utf8.ValidString(name) {
			t.Fatalf("PrintableName = %q", name)
		}
	})
}
