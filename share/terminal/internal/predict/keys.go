package predict

import "unicode/utf8"

// action is what a key is expected to do.
type action byte

const (
	barrier action = iota // nobody can tell
	insert                // its character appears at the cursor, and pushes what follows
	rubout                // the character before the cursor goes
	left                  // the cursor moves
	right
)

// keyboard finds the keys in what a terminal types.
type keyboard struct {
	state keyState
	held  []byte // of a character that isn't complete
}

type keyState byte

const (
	keyGround keyState = iota
	keyEscape
	keySequence // after ESC [ or ESC O
	keyParameters
)

// next returns the first key of p, what it does and how many bytes of p it
// takes. A key may end in a later p: what there is of it is a barrier then.
func (k *keyboard) next(p []byte) (does action, text string, n int) {
	for i, b := range p {
		switch k.state {
		case keyEscape:
			k.state = keyGround
			if b == '[' || b == 'O' {
				k.state = keySequence
				continue
			}
			return barrier, "", i + 1
		case keySequence, keyParameters:
			if b >= ' ' && b < '@' {
				k.state = keyParameters
				continue
			}
			plain := k.state == keySequence && i == 2 // all of it in p
			k.state = keyGround
			switch {
			case plain && b == 'C':
				return right, "", i + 1
			case plain && b == 'D':
				return left, "", i + 1
			}
			return barrier, "", i + 1
		}
		switch {
		case b == 0x1b:
			if len(k.held) > 0 {
				k.held = k.held[:0]
				return barrier, "", i
			}
			k.state = keyEscape
		case b == 0x7f || b == '\b':
			k.held = k.held[:0]
			return rubout, "", i + 1
		case b < ' ':
			k.held = k.held[:0]
			return barrier, "", i + 1
		default:
			k.held = append(k.held, b)
			if !utf8.FullRune(k.held) {
				continue
			}
			r, size := utf8.DecodeRune(k.held)
			whole := size == len(k.held) && len(k.held) == i+1
			k.held = k.held[:0]
			if !whole || columns(r) < 1 {
				return barrier, "", i + 1
			}
			return insert, spell(r), i + 1
		}
	}
	return barrier, "", len(p)
}
