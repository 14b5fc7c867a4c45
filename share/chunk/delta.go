package chunk

import (
	"encoding/binary"

	"tandem/session"
)

const deltaMagic = "tcd1"

// Delta encodes how to make the list of old that both sides have into new. It
// is never longer than new's own encoding by more than a few bytes a step.
func Delta(old, new List) []byte {
	b := append([]byte(nil), deltaMagic...)
	oldName, newName := old.Name(), new.Name()
	b = append(b, oldName[:]...)
	b = append(b, newName[:]...)
	b = binary.AppendUvarint(b, uint64(len(new)))
	first := make(map[Ref]int, len(old)) // where each chunk is first
	for i := len(old) - 1; i >= 0; i-- {
		first[old[i]] = i
	}
	next := 0 // where the old list would go on
	for i := 0; i < len(new); {
		from, known := next, next < len(old) && old[next] == new[i]
		if !known {
			from, known = first[new[i]]
		}
		n := 1
		if known {
			for i+n < len(new) && from+n < len(old) && old[from+n] == new[i+n] {
				n++
			}
			b = binary.AppendUvarint(b, uint64(n)<<1)
			b = binary.AppendUvarint(b, uint64(from))
			next = from + n
		} else {
			for i+n < len(new) {
				if _, known := first[new[i+n]]; known {
					break
				}
				n++
			}
			b = binary.AppendUvarint(b, uint64(n-1)<<1|1)
			for _, r := range new[i : i+n] {
				b = appendRef(b, r)
			}
		}
		i += n
	}
	return b
}

// Apply makes the new list of a delta against old. The error's kind is Changed
// if the delta is against another list, Invalid or TooLarge if it makes no
// sense, and Integrity if it doesn't make what it promises.
func Apply(old List, delta []byte) (List, error) {
	d := decoder{rest: delta}
	d.magic(deltaMagic)
	against, promised, n := d.sum(), d.sum(), d.count()
	if d.err != nil {
		return nil, d.err
	}
	if against != old.Name() {
		return nil, session.Errorf("chunk", session.Changed, "the difference is from another state of the file")
	}
	var list List // grows with what has been read: a copy costs a few bytes
	for len(list) < n && d.err == nil {
		step := d.uvarint()
		count := step >> 1
		if step&1 == 1 {
			count++
		}
		if count == 0 || count > uint64(n-len(list)) {
			d.fail("a difference with an impossible step")
			break
		}
		if step&1 == 0 {
			from := d.uvarint()
			if from > uint64(len(old)) || count > uint64(len(old))-from {
				d.fail("a difference that refers to nothing")
				break
			}
			list = append(list, old[from:from+count]...)
			continue
		}
		if count > uint64(len(d.rest)/minRef) {
			d.fail("a difference that is cut short")
			break
		}
		for range count {
			list = append(list, d.ref())
		}
	}
	d.end()
	if d.err != nil {
		return nil, d.err
	}
	if list.Name() != promised {
		return nil, session.Errorf("chunk", session.Integrity, "the difference does not make the list it promises")
	}
	return list, nil
}
