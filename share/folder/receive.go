package folder

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/zeebo/blake3"

	"tandem/session"
	"tandem/share/chunk"
)

// sink takes the content of a file in order.
type sink interface {
	io.Writer
	// zeros takes n zeros, and need not write them.
	zeros(ctx context.Context, n int64) error
	// spot is where the next bytes will lie.
	spot() spot
}

// receiver puts the items of one file together.
type receiver struct {
	to     sink
	hash   *blake3.Hasher // of all that to has got; to feeds it
	packer *chunk.Packer
	// old opens what copies come from; nil if nothing was offered.
	old func() (*os.File, error)
	// recent, if set, finds in tree what came before, and remembers what comes.
	recent *recent
	tree   *tree
	held   *held // to, if it is that
	// want is how many bytes are to come, or -1.
	want int64
	// moved is told of every item, as sender's.
	moved func(content, sent, wire int64)
}

// receive reads the items of b and its trailer and verifies the whole. Where
// the peer broke the protocol, b has the error.
func (r receiver) receive(ctx context.Context, b *body) error {
	left := int64(maxFile)
	if r.want >= 0 {
		left = r.want
	}
	var from *os.File
	defer func() {
		if from != nil {
			_ = from.Close() // only read
		}
	}()
	for {
		raw, err := b.scratch()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		i, err := parseItem(raw)
		if err != nil {
			b.err = err
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if i.length > left {
			return forged("the peer sends more than it announced")
		}
		n, sent := i.length, int64(0)
		switch i.kind {
		case itemData:
			n, err = r.data(i, left)
			sent = n
		case itemAgain:
			n, err = r.again(i.sum, left)
		case itemZeros:
			err = r.to.zeros(ctx, n)
		case itemNone:
			err = forged("the peer ends a file where none may end")
		case itemCopy:
			if from == nil {
				if r.old == nil {
					return forged("the peer refers to a file that was not offered")
				}
				if from, err = r.old(); err != nil {
					return err
				}
			}
			err = r.copy(ctx, from, i)
		}
		if err != nil {
			return err
		}
		left -= n
		if r.moved != nil {
			r.moved(n, sent, int64(len(raw))+unitSize)
		}
	}
	t, err := b.finish()
	if err != nil {
		return err
	}
	if err := t.Error.err("copy"); err != nil {
		return err
	}
	switch {
	case r.want >= 0 && left > 0:
		return forged("the peer sends less than it announced")
	case t.Hash == nil:
		return forged("the content comes without a hash")
	case *t.Hash == sum(r.hash):
		return nil
	case from != nil:
		return session.Errorf("copy", session.Changed, "the old version changed while it was used")
	}
	return forged("the content does not match its hash")
}

func (r receiver) data(i item, left int64) (int64, error) {
	unpack := r.packer.Content // the hash of the whole tells
	if r.old != nil {          // but not what was wrong, if there are copies
		unpack = func(pack []byte) ([]byte, error) { return r.packer.Unpack(i.sum, pack) }
	}
	data, err := unpack(i.pack)
	if err != nil {
		return 0, err
	}
	if int64(len(data)) > left {
		return 0, forged("the peer sends more than it announced")
	}
	if r.recent != nil {
		at := r.to.spot()
		at.size = len(data)
		r.recent.add(i.sum, at)
	}
	_, err = r.to.Write(data)
	return int64(len(data)), err
}

func (r receiver) again(sum chunk.Sum, left int64) (int64, error) {
	if r.recent == nil {
		return 0, forged("the peer refers to a file that did not come")
	}
	data, err := r.recent.read(r.tree, sum, r.held)
	if err != nil {
		return 0, err
	}
	if int64(len(data)) > left {
		return 0, forged("the peer sends more than it announced")
	}
	_, err = r.to.Write(data)
	return int64(len(data)), err
}

func (r receiver) copy(ctx context.Context, from io.ReaderAt, i item) error {
	n, err := copyContext(ctx, r.to, io.NewSectionReader(from, i.offset, i.length))
	if err == nil && n < i.length {
		err = session.Errorf("copy", session.Changed, "the old version changed while it was used")
	}
	return err
}

// plainSink is a sink that writes zeros out.
type plainSink struct{ io.Writer }

func (plainSink) spot() spot { return spot{} }

func (s plainSink) zeros(ctx context.Context, n int64) error {
	return hashZeros(s.Writer, n, ctx.Err)
}
