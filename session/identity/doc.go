// Package identity is who this device is and whom it knows.
//
// # The device key
//
// A device is one Ed25519 key (RFC 8032), made on first use and never changed.
// It lives in a directory of mode 0700 that belongs to us:
//
//	device.key   mode 0600; the private key as PKCS #8 in PEM (RFC 5958, RFC 8410)
//	name         mode 0600; what the device calls itself, one line; absent means user@hostname
//	lock         held while the other two are made or replaced
//
// Looser modes and other owners are refused, except on Windows, where files in
// a profile are private by their ACL. Every file is written to a temporary,
// fsynced and renamed, and then the directory is fsynced.
//
// Two further keys come from the private key's 32-byte seed by HKDF-SHA-256
// (RFC 5869) without salt, each with a label of its own as info:
//
//	"tandem/mailbox-key/1"   seed of the Ed25519 key that owns the device's signaling mailbox
//	"tandem/seal-key/1"      X25519 private key (RFC 7748) that opens what is sealed for the device
//
// # Fingerprints
//
// A fingerprint is twelve words, shown as three groups of four: the first 132
// bits of SHA-256("tandem/fingerprint/1" ‖ ID), most significant bit first,
// eleven bits a word, each the position of a word in package words.
//
// # Sealing
//
// What a signaling server carries for a known peer is sealed to that peer's
// X25519 key by HPKE (RFC 9180) in base mode with DHKEM(X25519, HKDF-SHA256),
// HKDF-SHA256, ChaCha20-Poly1305, info "tandem/seal/1" and no additional data:
//
//	enc[32]  the ephemeral public key
//	box[…]   the ciphertext and its 16-byte tag
//
// At most MaxSealed bytes in all. It hides the content from the carrier; it
// does not say who sent it, so what is inside must be authenticated by itself.
//
// # Known peers
//
// The book of known peers is a file of JSON lines, mode 0600, each an Entry:
//
//	{"id":…,"name":…,"alias":…,"contact":{"mailbox":…,"seal_key":…,"servers":[…]},"added":…}
//
// Lines are only appended, each fsynced before it counts, under a lock on the
// file beside it (".lock"), so several processes may share a book. A later line
// about an ID replaces its name, alias and contact. An alias belongs to one ID
// at a time: a line that would give it to another is refused when it is added,
// and makes the whole file refused when it is read. An unfinished last line is
// what a crash left behind; it is dropped. Superseded lines are removed, by
// writing the file anew, once they are most of it. Limits: 8 KiB a line, 10,000
// peers.
package identity
