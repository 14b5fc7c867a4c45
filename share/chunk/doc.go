// Package chunk cuts files into chunks named by their content, so that the same
// bytes are stored, sent and verified once, whoever has them. The same list of
// chunks serves transfer, resume, delta, rename, many-source download and
// backup.
//
// # Names
//
// A chunk's name (Sum) is the BLAKE3 hash of its bytes, 32 bytes, uncompressed
// and unkeyed: whoever has the bytes can name them. It is written as 64 lower
// case hex digits.
//
// # Cutting
//
// A Cutter cuts by FastCDC (Xia et al., USENIX ATC 2016; the algorithm
// "fastcdc-v1.0.0" of go-cdc-chunkers) into chunks of 16 KiB at least and
// 256 KiB at most, 64 KiB being normal, unless Params says otherwise. Where the
// cuts fall depends on the content alone, so an edit changes the chunks it
// touches and few others. The gear table is keyed (BLAKE3, 32 bytes) with the
// folder's key: whoever sees only the sizes of a folder's chunks can't look for
// known files by them. Params are pinned per folder: with others the same file
// has other chunks, and all of it would travel again.
//
// # List
//
// A List is the chunks of one file in order. Encoded:
//
//	4 bytes   "tcl1"
//	uvarint   count of chunks, at most 1<<22 (MaxRefs)
//	count × { 32 bytes sum, uvarint size, 1 to 16 MiB (MaxSize) }
//
// with uvarint as in encoding/binary, in its shortest form, and nothing after
// the last chunk. A List's name is the BLAKE3 hash of this encoding; two files
// cut with the same Params are equal if their lists' names are. An empty file
// has the empty list.
//
// # Delta
//
// A Delta makes a new list of an old one that both sides have:
//
//	4 bytes   "tcd1"
//	32 bytes  the old list's name
//	32 bytes  the new list's name
//	uvarint   count of chunks in the new list, at most MaxRefs
//	steps until that many chunks are there, each a uvarint n > 0 and
//	  n even: n/2 chunks of the old list, from the uvarint that follows on
//	  n odd:  n/2+1 new ones, each 32 bytes sum and uvarint size
//
// It is made by whoever sends and checked in full by whoever applies it: the
// result has the name that was promised, or there is none.
//
// # Pack
//
// A pack is a chunk as it is stored or sent:
//
//	1 byte    0: the bytes as they are; 1: one zstd frame (RFC 8878)
//	the rest  the bytes or the frame
//
// zstd is used where it saves a sixteenth at least. A frame is decompressed
// into at most MaxSize bytes, whatever it claims, and the result has the name
// that was asked for, or is refused with kind "integrity".
//
// # Store
//
// A Store keeps verified chunks. Dir is one in a directory: the pack of a chunk
// is the file ab/cdef…, named by its sum, written as a temporary file in tmp/
// and renamed. What is damaged is found when it is read, removed, and reported
// as "integrity" once and "not-found" from then on. A Dir is bounded: at its
// limit it either drops what was used longest ago, as a cache does, or refuses
// with "no-space".
//
// A Store is for what has no file of its own: chunks on their way from many sources
// (swarm), or kept for others (backup). Transfers of package folder do without one.
// What they compare with is the file in the place of the new one, what they resume is
// the unfinished file itself, and what comes twice in one copy is read from where it
// went. A cache of chunks beside that would write and flush every byte twice, and
// help only whoever gets again what they have deleted.
package chunk
