package chunk

import (
	"context"
	"iter"
)

// Store keeps chunks by their names. Its methods can be called at once; what
// chunktest says holds of each.
type Store interface {
	// Has reports whether Get would find the chunk.
	Has(ctx context.Context, name Sum) (bool, error)
	// Get returns the bytes of a chunk, which are the caller's. The error's kind is
	// NotFound if it isn't there and Integrity if it is damaged; it isn't there
	// any more then.
	Get(ctx context.Context, name Sum) ([]byte, error)
	// Put keeps data under its name. To have it already is no error. The
	// error's kind is Integrity if data has another name, Invalid if it is empty,
	// TooLarge beyond MaxSize, NoSpace if there is no room.
	Put(ctx context.Context, name Sum, data []byte) error
	// Delete removes a chunk. That it isn't there is no error.
	Delete(ctx context.Context, name Sum) error
	// List yields the names of all chunks, in no order. What is put or deleted
	// meanwhile may be among them or not.
	List(ctx context.Context) iter.Seq2[Sum, error]
}
