// Package pairing turns an invite that one person passes to another into two
// devices that know each other's key. It does no I/O but the ledger's: messages
// go in, messages come out, and somebody else carries them over servers that
// may read, change, drop, repeat and reorder them.
//
// Pairing proves who. By itself it grants nothing.
//
// # Invites
//
// An invite has two forms with one count of attempts and uses:
//
//	code  4821-wolf-paper-lunar
//	link  https://server/j#4821.SECRET.HOST&s=SERVER…
//
// Both begin with the nameplate: one to ten digits by which a signaling server
// finds the host. It is not secret. A code goes on with three words of package
// words, 33 bits that the host draws and that are never sent. When read, case
// does not matter, and anything between the words that is not a letter or digit
// does for a separator.
//
// A link keeps its secrets in the fragment, which browsers do not send: SECRET
// is 128 random bits and HOST the host's PeerID, both in lower-case base32
// without padding (RFC 4648, section 6). The guest accepts no other host. The
// part before "/j" is the first server; every "&s=" adds one, percent-encoded
// (RFC 3986), up to eight of 256 bytes each. Fields with other names are
// ignored. A link has at most 4096 bytes.
//
// An invite allows three attempts, one success and ten minutes, unless its
// maker says otherwise.
//
// # The exchange
//
// It is CPACE-X25519-SHA512 of draft-irtf-cfrg-cpace-21 in its initiator-
// responder form, with key confirmation, and with signatures by both devices.
// G is the guest, H the host; lv is the draft's lv_cat; ‖ joins.
//
//	G→H knock  nameplate                       asks for an attempt
//	H→G hello  nH                              fresh for each attempt
//	G→H m1     nH, nG, Ya, idG, kind, nameplate
//	           H counts the attempt, durably, before it answers
//	H→G m2     Yb, idH, Tb, box{ sigH }
//	           G verifies Tb and sigH, and idH against a link's HOST
//	G→H m3     Ta, box{ sigG ‖ offer }
//	           H verifies Ta and sigG and counts the use, durably; then a person is asked
//	H→G m4     box{ answer }
//	both       more box{…} at any time after that: candidates and the like
//	H→G refuse instead of hello, m2          a kind of error, which anybody can forge
//	both       decline box{ kind, text }     a kind of error from somebody who has the key
//
//	sid = nH ‖ nG      CI = lv("tandem/pair/1", nameplate, "code" or "link")
//	PRS = the three words in lower case joined by "-", or the 16 bytes of SECRET
//	g = calculate_generator(PRS, CI, sid)      Ya = X25519(ya, g)      Yb = X25519(yb, g)
//	ADa = lv("guest", "1", idG)                ADb = lv("host", "1", idH)
//	transcript = lv(Ya, ADa) ‖ lv(Yb, ADb)     ISK as in the draft
//	mac = SHA-512("CPaceMac" ‖ sid ‖ ISK)      Ta = HMAC-SHA-512(mac, lv(Ya, ADa)), Tb with Yb, ADb
//	sig = Ed25519 by idH or idG of lv("tandem/pair/1 signature", "host" or "guest", sid, transcript)
//	box key = HKDF-SHA-512(ISK, salt sid, info "tandem/pair/1 host to guest" or "… guest to host"), 32 bytes
//	context = SHA-512("CPaceSidOutput" ‖ transcript), a public name of this exchange
//
// The tags prove that the other side knows the secret, the signatures that it
// holds the device key it names: without them one who has a code could pass for
// a device he has not. Device names, contacts and addresses travel in boxes
// only. The servers do see both IDs.
//
// A host answers one m1 for each attempt and judges one m3; a guest judges one
// m2. A wrong tag or signature ends the attempt, on either side, without
// another try: whoever is in the middle gets one guess for each attempt. A
// message that is repeated byte for byte is answered as before, so a side that
// hears nothing may send its last message again. Everything else that does not
// fit is dropped.
//
// A host keeps nothing for a knock: nH = HMAC-SHA-256(k, invite ID ‖ attempt)
// with a k of its own that lasts as long as the process; an m1 without the
// right nH is refused before anything is counted. So a flood of knocks costs
// no memory, and attempts are counted only for senders that can also receive.
//
// # Messages
//
// Every message begins with the same 18 bytes. Integers are big-endian; lengths
// are in bytes; no message is longer than 16384 bytes; nothing may follow the
// last field.
//
//	version[1]   1
//	type[1]      as below
//	attempt[16]  drawn by the guest for each attempt
//
//	1 knock    n[1] nameplate[n]
//	2 hello    nH[32]
//	3 m1       nH[32] nG[32] Ya[32] idG[32] kind[1] n[1] nameplate[n]     kind 1 is code, 2 is link
//	4 m2       Yb[32] idH[32] Tb[64] box
//	5 m3       Ta[64] box
//	6 m4       box
//	7 refuse   n[1] kind[n]                                               this form in every version
//	8 decline  box
//	9 more     box
//
// A box is seq[8] and the AES-256-GCM ciphertext (NIST SP 800-38D) with its
// 16-byte tag; nonce: four zero bytes and seq; additional data: the message's
// first 18 bytes. Each side numbers its boxes from 0 and opens each of the
// other's once, in any order within 64 of the newest. The content of sigH is 64
// bytes; of m3, 64 bytes and the offer; of decline, n[1] kind[n] text, where
// kind is a session.Kind and text at most session.MaxErrorText bytes of UTF-8.
// Offer, answer and further contents belong to the caller: at most MaxPayload
// bytes each.
//
// # The ledger
//
// Attempts and uses are counted in a directory, in one file for each invite,
// named after its random ID and ".invite". The first line says what is allowed;
// each later line takes something away, and is fsynced before its effect
// leaves the process:
//
//	{"attempts":3,"uses":1,"made":"2026-01-02T03:04:05Z","expires":"2026-01-02T03:14:05Z"}
//	attempt 2026-01-02T03:05:06Z
//	use 2026-01-02T03:05:07Z
//	dead 2026-01-02T03:05:07Z
//
// An invite without a file, with a file that can't be read or written, or with
// an unfinished line is refused: what is in doubt is dead. Time never runs
// backwards: the latest time in the file counts if the clock shows less.
package pairing
