package pairing

import (
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/sha512"
	"encoding/binary"

	"filippo.io/edwards25519/field"
)

// CPACE-X25519-SHA512 of draft-irtf-cfrg-cpace-21. Names follow the draft.

const (
	cpaceDSI       = "CPace255"
	cpaceISK       = cpaceDSI + "_ISK"
	cpaceSidOutput = "CPaceSidOutput"
	cpaceMac       = "CPaceMac"

	// montgomeryA is Curve25519's coefficient (RFC 7748, section 4.1).
	montgomeryA = 486662
)

// lvCat joins strings, each behind its length in LEB128 (section 6.3).
func lvCat[T string | []byte](parts ...T) []byte {
	var out []byte
	for _, p := range parts {
		out = binary.AppendUvarint(out, uint64(len(p)))
		out = append(out, p...)
	}
	return out
}

// generatorString pads so that the password alone fills the first block of the
// hash, whatever its length (section 8.1).
func generatorString(prs, ci, sid []byte) []byte {
	dsi := []byte(cpaceDSI)
	padding := max(0, sha512.BlockSize-1-len(lvCat(prs))-len(lvCat(dsi)))
	return lvCat(dsi, prs, make([]byte, padding), ci, sid)
}

// generator is the point both sides start from: calculate_generator of section
// 8.2, as a u-coordinate.
func generator(prs, ci, sid []byte) []byte {
	sum := sha512.Sum512(generatorString(prs, ci, sid))
	// SetBytes ignores the top bit, as decodeUCoordinate does, and fails only
	// for other lengths than 32.
	r, err := new(field.Element).SetBytes(sum[:32])
	if err != nil {
		panic(err)
	}
	return elligator2(r).Bytes()
}

// elligator2 maps a field element to the u-coordinate of a point of Curve25519
// (appendix A.5; RFC 9380, section 6.7.1, with Z = 2), in constant time.
func elligator2(r *field.Element) *field.Element {
	one := new(field.Element).One()
	a := new(field.Element).Mult32(one, montgomeryA)
	// v = -A / (1 + 2r²); the divisor is never 0, as -1/2 is not a square.
	v := new(field.Element).Square(r)
	v.Add(v, v)
	v.Add(v, one)
	v.Invert(v)
	v.Multiply(v, a)
	v.Negate(v)
	// w = v³ + Av² + v = v(v(v + A) + 1)
	w := new(field.Element).Add(v, a)
	w.Multiply(w, v)
	w.Add(w, one)
	w.Multiply(w, v)
	// u is v if w is a square, else -v - A.
	other := new(field.Element).Add(v, a)
	other.Negate(other)
	_, square := new(field.Element).SqrtRatio(w, one)
	return new(field.Element).Select(v, other, square)
}

// scalarMult is X25519 (RFC 7748) and fails where the result is the neutral
// element, which section 7.2 makes the end of the exchange.
func scalarMult(scalar, point []byte) ([]byte, error) {
	private, err := ecdh.X25519().NewPrivateKey(scalar)
	if err != nil {
		return nil, err
	}
	public, err := ecdh.X25519().NewPublicKey(point)
	if err != nil {
		return nil, err
	}
	return private.ECDH(public)
}

// transcriptIR joins both sides' shares and data, the initiator's first.
func transcriptIR(ya, ada, yb, adb []byte) []byte {
	return append(lvCat(ya, ada), lvCat(yb, adb)...)
}

// intermediateKey is the ISK of section 7.2.
func intermediateKey(sid, k, transcript []byte) []byte {
	sum := sha512.Sum512(append(lvCat([]byte(cpaceISK), sid, k), transcript...))
	return sum[:]
}

// sidOutput names the finished exchange without saying anything secret
// (appendix B.1.7).
func sidOutput(transcript []byte) []byte {
	sum := sha512.Sum512(append([]byte(cpaceSidOutput), transcript...))
	return sum[:]
}

// confirmation is the tag by which the side that sent share and data proves
// that it has the key (section 10.4, with HMAC-SHA-512).
func confirmation(sid, isk, share, data []byte) []byte {
	key := sha512.New()
	key.Write([]byte(cpaceMac))
	key.Write(sid)
	key.Write(isk)
	mac := hmac.New(sha512.New, key.Sum(nil))
	mac.Write(lvCat(share, data))
	return mac.Sum(nil)
}
