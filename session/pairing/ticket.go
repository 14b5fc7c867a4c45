package pairing

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"

	"tandem/session"
	"tandem/session/identity/words"
)

const (
	opJoin   = "join"
	hintCode = "a code looks like 4821-wolf-paper-lunar"
	hintLink = "copy the whole link, from https:// to its end"
	hintNew  = "ask for a new code"
)

// Ticket is an invite as a guest has it.
type Ticket struct {
	// Kind says which form was given.
	Kind Kind
	// Nameplate is where a signaling server finds the host.
	Nameplate string
	// Host is the device a link demands; zero for a code.
	Host session.PeerID
	// Servers are those a link names; none for a code.
	Servers []string

	password []byte
}

// String leaves the secret out.
func (t *Ticket) String() string { return t.Kind.String() + " " + t.Nameplate }

// Parse reads a code or a link as a person typed or pasted it. The error's hint
// names the likely word where one is not in the list; that word is not used
// unless the person types it. No error repeats a word of the code outside of
// its hint.
func Parse(s string) (*Ticket, error) {
	if len(s) > maxLink {
		return nil, &session.Error{Op: opJoin, Kind: session.TooLarge, Text: "that is too long for a code or a link", Hint: hintCode}
	}
	s = strings.Trim(strings.TrimSpace(s), "<>\"'`“”‘’")
	if strings.Contains(s, "://") {
		return parseLink(s)
	}
	return parseCode(s)
}

func parseCode(s string) (*Ticket, error) {
	fields := strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
	if len(fields) != 1+codeWords || !validNameplate(fields[0]) {
		return nil, &session.Error{
			Op: opJoin, Kind: session.Invalid,
			Text: fmt.Sprintf("a code is a number and %d words", codeWords), Hint: hintCode,
		}
	}
	for n, w := range fields[1:] {
		if _, ok := words.Index(w); ok {
			continue
		}
		hint := fmt.Sprintf("%q is none of the words that codes are made of; look at the code again", session.PrintableName(w))
		if likely := words.Nearest(w); likely != "" {
			hint = fmt.Sprintf("is it %q instead of %q? Nothing has been tried yet", likely, session.PrintableName(w))
		}
		return nil, &session.Error{
			Op: opJoin, Kind: session.Invalid,
			Text: fmt.Sprintf("the %s word is mistyped", [codeWords]string{"first", "second", "third"}[n]), Hint: hint,
		}
	}
	return &Ticket{Kind: Code, Nameplate: fields[0], password: []byte(strings.Join(fields[1:], "-"))}, nil
}

func parseLink(s string) (*Ticket, error) {
	malformed := &session.Error{Op: opJoin, Kind: session.Invalid, Text: "that is not a tandem link", Hint: hintLink}
	address, fragment, ok := strings.Cut(s, "#")
	base, found := strings.CutSuffix(address, linkPath)
	if !ok || !found {
		return nil, malformed
	}
	server, err := parseServer(base)
	if err != nil {
		return nil, malformed
	}
	fields := strings.Split(fragment, "&")
	parts := strings.Split(fields[0], ".")
	if len(parts) != 3 || !validNameplate(parts[0]) {
		return nil, malformed
	}
	secret, err := secretEncoding.DecodeString(strings.ToUpper(parts[1]))
	if err != nil || len(secret) != secretSize || !strings.EqualFold(secretEncoding.EncodeToString(secret), parts[1]) {
		return nil, malformed
	}
	host, err := session.ParsePeerID(parts[2])
	if err != nil || host.IsZero() {
		return nil, malformed
	}
	t := &Ticket{Kind: Link, Nameplate: parts[0], Host: host, Servers: []string{server}, password: secret}
	for _, f := range fields[1:] {
		escaped, ok := strings.CutPrefix(f, "s=")
		if !ok {
			continue
		}
		raw, err := url.QueryUnescape(escaped)
		if err != nil || len(t.Servers) == maxServers {
			return nil, malformed
		}
		if server, err = parseServer(raw); err != nil {
			return nil, malformed
		}
		t.Servers = append(t.Servers, server)
	}
	return t, nil
}
