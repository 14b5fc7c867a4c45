package pairing

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"filippo.io/edwards25519/field"
)

// unhex reads hexadecimal as the draft prints it, over several lines.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func wantHex(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if !bytes.Equal(got, unhex(t, want)) {
		t.Errorf("%s\n got %x\nwant %s", what, got, strings.Join(strings.Fields(want), ""))
	}
}

// draft-irtf-cfrg-cpace-21, appendix A.1 and A.2.
func TestCPaceStrings(t *testing.T) {
	sequence := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i)
		}
		return b
	}
	wantHex(t, `prepend_len("")`, lvCat(""), "00")
	wantHex(t, `prepend_len("1234")`, lvCat("1234"), "0431323334")
	wantHex(t, "prepend_len(0..126)", lvCat(sequence(127))[:1], "7f")
	wantHex(t, "prepend_len(0..127)", lvCat(sequence(128))[:2], "8001")
	wantHex(t, "lv_cat", lvCat("1234", "5", "", "678"), "043132333401350003363738")
	// A password longer than the block leaves no padding.
	long := bytes.Repeat([]byte("p"), 200)
	if got, want := generatorString(long, nil, nil), lvCat([]byte(cpaceDSI), long, nil, nil, nil); !bytes.Equal(got, want) {
		t.Error("a long password is padded")
	}
}

// draft-irtf-cfrg-cpace-21, appendix B.1.1 to B.1.7.
func TestCPaceVectors(t *testing.T) {
	prs, ci := []byte("Password"), []byte("\x0bA_initiator\x0bB_responder")
	sid := unhex(t, "7e4b4791d6a8ef019b936c79fb7f2c57")
	ada, adb := []byte("ADa"), []byte("ADb")
	ya := unhex(t, "21b4f4bd9e64ed355c3eb676a28ebedaf6d8f17bdc365995b319097153044080")
	yb := unhex(t, "848b0779ff415f0af4ea14df9dd1d3c29ac41d836c7808896c4eba19c51ac40a")

	text := generatorString(prs, ci, sid)
	wantHex(t, "generator_string", text, `
		0843506163653235350850617373776f72646d000000000000000000
		00000000000000000000000000000000000000000000000000000000
		00000000000000000000000000000000000000000000000000000000
		00000000000000000000000000000000000000000000000000000000
		00000000000000000000000000000000180b415f696e69746961746f
		720b425f726573706f6e646572107e4b4791d6a8ef019b936c79fb7f
		2c57`)
	sum := sha512.Sum512(text)
	wantHex(t, "hash", sum[:32], "03998087bdb1a2617bbe25ef5a7c18cd4f84f902328701790958755ee4aed1d3")
	r, err := new(field.Element).SetBytes(sum[:32])
	if err != nil {
		t.Fatal(err)
	}
	wantHex(t, "decoded field element", r.Bytes(), "03998087bdb1a2617bbe25ef5a7c18cd4f84f902328701790958755ee4aed153")
	g := generator(prs, ci, sid)
	wantHex(t, "g", g, "d04bf6d41f6a289632a2e929fa29bebd51092512a7829fdde7d314b62f05a73f")

	mult := func(scalar, point []byte) []byte {
		out, err := scalarMult(scalar, point)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	shareA, shareB := mult(ya, g), mult(yb, g)
	wantHex(t, "Ya", shareA, "1d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc989ce0c9f32")
	wantHex(t, "Yb", shareB, "248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e623512ecea32185623")
	k := mult(ya, shareB)
	wantHex(t, "K of A", k, "5b067effbdc0b2a0e1d907b21ebb25cfedb96a852179a847c37e43ee71322c6b")
	wantHex(t, "K of B", mult(yb, shareA), "5b067effbdc0b2a0e1d907b21ebb25cfedb96a852179a847c37e43ee71322c6b")

	ir := transcriptIR(shareA, ada, shareB, adb)
	wantHex(t, "transcript_ir", ir, `
		201d13c89278cdadd826f6d8d7f887701430f8380ddc17611cdd6dc9
		89ce0c9f320341446120248cccf6d5cdc3646f0ad593f9e6cef4e69d
		4945f8372e623512ecea3218562303414462`)
	wantHex(t, "ISK initiator/responder", intermediateKey(sid, k, ir), `
		6e19b875f7a561d6b3ca3dbb9ef42ac55de3e717881018204b8922b4
		d5e53bb2aa82c300bea7b65d2b671da71922ddf6472301b79bc270ad
		fa8bf413285f2263`)
	wantHex(t, "sid output initiator/responder", sidOutput(ir), `
		cbc73f62589bbc96ab6a95ec2363df621e93bc3b0cea83ba6b9571d0
		05fa8f5d2d08f7165622777fa484c02a9e6b20a84ee2dbebae8c53be
		757dcfc0eebdeb5f`)

	// Our exchange has an initiator; the other form checks the same functions.
	oc := transcriptOC(shareA, ada, shareB, adb)
	wantHex(t, "transcript_oc", oc, `
		6f6320248cccf6d5cdc3646f0ad593f9e6cef4e69d4945f8372e6235
		12ecea3218562303414462201d13c89278cdadd826f6d8d7f8877014
		30f8380ddc17611cdd6dc989ce0c9f3203414461`)
	wantHex(t, "ISK parallel", intermediateKey(sid, k, oc), `
		eef745e2f6e7ae2b1a1e53da340e777167a07fe150436648c51fb199
		c11f3cbabfc683a2b48e1af5881940dc398d375c95e6b4ae9948a45b
		8770de0656382be4`)
	wantHex(t, "sid output parallel", sidOutput(oc), `
		3a504e9c7f1f7fa7314861e2c487d13f28566f3043f0ca760d22c491
		1aca0dd8b1f12a7ad0862eb92d08a76120140412ae6b8322e99d75cf
		1d20d8cfde2b40fe`)
}

// transcriptOC is the transcript of exchanges in which neither side is first.
func transcriptOC(ya, ada, yb, adb []byte) []byte {
	parts := [][]byte{lvCat(ya, ada), lvCat(yb, adb)}
	slices.SortFunc(parts, func(a, b []byte) int { return bytes.Compare(b, a) })
	return append([]byte("oc"), bytes.Join(parts, nil)...)
}

// draft-irtf-cfrg-cpace-21, appendix A.3.7.
func TestCPaceTranscriptOC(t *testing.T) {
	b := func(s string) []byte { return []byte(s) }
	wantHex(t, "first", transcriptOC(b("123"), b("PartyA"), b("234"), b("PartyB")),
		"6f6303323334065061727479420331323306506172747941")
	wantHex(t, "second", transcriptOC(b("3456"), b("PartyA"), b("2345"), b("PartyB")),
		"6f63043334353606506172747941043233343506506172747942")
}

// draft-irtf-cfrg-cpace-21, appendix B.1.10: twelve low-order or non-canonical
// points. An empty result means that the exchange must end there.
func TestCPaceLowOrderPoints(t *testing.T) {
	s := unhex(t, "af46e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449aff")
	for i, c := range []struct{ u, q string }{
		{"0000000000000000000000000000000000000000000000000000000000000000", ""},
		{"0100000000000000000000000000000000000000000000000000000000000000", ""},
		{"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", ""},
		{"e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800", ""},
		{"5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157", ""},
		{"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", ""},
		{
			"daffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"d8e2c776bbacd510d09fd9278b7edcd25fc5ae9adfba3b6e040e8d3b71b21806",
		},
		{"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", ""},
		{
			"dbffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"c85c655ebe8be44ba9c0ffde69f2fe10194458d137f09bbff725ce58803cdb38",
		},
		{
			"d9ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
			"db64dafa9b8fdd136914e61461935fe92aa372cb056314e1231bc4ec12417456",
		},
		{
			"cdeb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b880",
			"e062dcd5376d58297be2618c7498f55baa07d7e03184e8aada20bca28888bf7a",
		},
		{
			"4c9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f11d7",
			"993c6ad11c4c29da9a56f7691fd0ff8d732e49de6250b6c2e80003ff4629a175",
		},
	} {
		q, err := scalarMult(s, unhex(t, c.u))
		if c.q == "" && err == nil {
			t.Errorf("u%x: accepted, %x", i, q)
		} else if c.q != "" && (err != nil || !bytes.Equal(q, unhex(t, c.q))) {
			t.Errorf("u%x: %x, %v; want %s", i, q, err, c.q)
		}
	}
}

// Wycheproof's X25519 cases, against the multiplication used here.
func TestWycheproofX25519(t *testing.T) {
	f, err := os.Open("testdata/x25519_test.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var suite struct {
		NumberOfTests int `json:"numberOfTests"`
		TestGroups    []struct {
			Curve string `json:"curve"`
			Tests []struct {
				ID                               int `json:"tcId"`
				Comment, Public, Private, Shared string
				Result                           string
				Flags                            []string
			}
		} `json:"testGroups"`
	}
	if err := json.NewDecoder(z).Decode(&suite); err != nil {
		t.Fatal(err)
	}
	done, refused := 0, 0
	for _, group := range suite.TestGroups {
		if group.Curve != "curve25519" {
			t.Fatalf("curve %q", group.Curve)
		}
		for _, c := range group.Tests {
			done++
			got, err := scalarMult(unhex(t, c.Private), unhex(t, c.Public))
			zero := !strings.ContainsFunc(c.Shared, func(r rune) bool { return r != '0' })
			switch {
			case c.Result == "invalid" || zero:
				refused++
				if err == nil {
					t.Errorf("%d (%s): accepted", c.ID, c.Comment)
				}
			case err != nil || !bytes.Equal(got, unhex(t, c.Shared)):
				t.Errorf("%d (%s): %x, %v; want %s", c.ID, c.Comment, got, err, c.Shared)
			}
		}
	}
	if done != suite.NumberOfTests || done < 500 || refused == 0 {
		t.Errorf("%d cases of %d, %d of them refused", done, suite.NumberOfTests, refused)
	}
}

func FuzzElligator2(f *testing.F) {
	f.Add(make([]byte, 32))
	f.Add(bytes.Repeat([]byte{0xff}, 32))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) != 32 {
			return
		}
		r, err := new(field.Element).SetBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		u := elligator2(r)
		// u³ + Au² + u must be a square: the point is on the curve, not its twist.
		one := new(field.Element).One()
		w := new(field.Element).Mult32(one, montgomeryA)
		w.Add(w, u)
		w.Multiply(w, u)
		w.Add(w, one)
		w.Multiply(w, u)
		if _, square := new(field.Element).SqrtRatio(w, one); square != 1 {
			t.Fatalf("%x is mapped off the curve", b)
		}
		// r and -r are the same to the map.
		if elligator2(new(field.Element).Negate(r)).Equal(u) != 1 {
			t.Fatalf("%x and its negative differ", b)
		}
	})
}
