package terminal

import "bytes"

// keyKind says what a person did at the keyboard.
type keyKind byte

const (
	keyText   keyKind = iota // typed something for the program
	keyDetach                // wants to leave
	keyHelp                  // wants to know the escapes
	keyEnd                   // the input has ended
	keyPeople                // wants to see who is here
	keyAsk                   // would like to type
	keyAllow                 // lets somebody type
	keyRefuse                // does not
)

// key is something a person did.
type key struct {
	kind keyKind
	text []byte
}

// escapes finds the escapes in what a person types. As in ssh, an escape is the
// escape character at the beginning of a line and one more character: one of
// escapeKey's, or the escape character, which is typed. Anything else is typed as
// it came. Letters are capital ones: ~w begins the folder of a user.
type escapes struct {
	char    byte // 0: there are no escapes
	midLine bool // something was typed since the last line ended
	pending bool // char was typed and held back
}

func escapeKey(b byte) keyKind {
	switch b {
	case '.':
		return keyDetach
	case '?':
		return keyHelp
	case 'W':
		return keyPeople
	case 'T':
		return keyAsk
	case 'Y':
		return keyAllow
	case 'N':
		return keyRefuse
	}
	return keyText
}

// split cuts p into keys, whose text doesn't share p's memory.
func (e *escapes) split(p []byte) []key {
	if e.char == 0 {
		return []key{{text: bytes.Clone(p)}}
	}
	var keys []key
	text := make([]byte, 0, len(p)+1)
	flush := func(kind keyKind) {
		if len(text) > 0 {
			keys = append(keys, key{text: text})
			text = nil
		}
		keys = append(keys, key{kind: kind})
	}
	for _, b := range p {
		if e.pending {
			e.pending = false
			if kind := escapeKey(b); kind != keyText {
				flush(kind)
				continue
			}
			if b != e.char {
				text = append(text, e.char)
			}
			e.midLine = true
		} else if b == e.char && !e.midLine {
			e.pending = true
			continue
		}
		text = append(text, b)
		e.midLine = b != '\r' && b != '\n'
	}
	if len(text) > 0 {
		keys = append(keys, key{text: text})
	}
	return keys
}
