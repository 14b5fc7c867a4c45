package link

import (
	"sync"

	"tandem/session/link/stream"
)

// frames keeps the memory of long frames between uses: at hundreds of megabytes a
// second, collecting it costs more than encrypting.
type frames struct{ pool sync.Pool }

// get makes room for n bytes.
func (f *frames) get(n int) []byte {
	if n <= stream.MaxFrame/2 || n > stream.MaxFrame {
		return make([]byte, n)
	}
	if b, ok := f.pool.Get().(*[stream.MaxFrame]byte); ok {
		return b[:n]
	}
	return new([stream.MaxFrame]byte)[:n]
}

// put takes back what get made. Nobody may have it any more.
func (f *frames) put(b []byte) {
	if cap(b) == stream.MaxFrame {
		f.pool.Put((*[stream.MaxFrame]byte)(b[:stream.MaxFrame]))
	}
}
