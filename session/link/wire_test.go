package link

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"tandem/session"
)

func testDescription(setup string) *description {
	d := &description{
		setup: setup, ufrag: "abcd", password: "abcdefghijklmnopqrstuv", maxMessageSize: 65537,
		sctpInit: []byte{1, 2, 3}, candidates: []string{"1 1 udp 2130706431 192.0.2.7 5000 typ host"},
	}
	for i := range d.print {
		d.print[i] = byte(i)
	}
	return d
}

func TestDescriptionRoundTrip(t *testing.T) {
	for _, setup := range []string{setupOffer, setupAnswer} {
		want := testDescription(setup)
		got, err := parseDescription(want.marshal(7), setup)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
}

// What has two meanings, or lacks one, is refused before it touches anything.
func TestDescriptionRefused(t *testing.T) {
	good := testDescription(setupOffer).marshal(7)
	const print = "a=fingerprint:sha-256 00:01"
	other := "a=fingerprint:sha-256 " + fingerprint{9}.String() + "\r\n"
	section := good[strings.Index(good, "m=application"):]
	for what, text := range map[string]string{
		"empty":                      "",
		"two fingerprints":           good + other,
		"the same fingerprint again": strings.Replace(good, "m=application", testPrintLine+"m=application", 1),
		"a sha-1 fingerprint too":    good + "a=fingerprint:sha-1 00:01\r\n",
		"only sha-512":               strings.Replace(good, "sha-256", "sha-512", 1),
		"no fingerprint":             strings.Replace(good, "a=fingerprint", "a=nothing", 1),
		"a short fingerprint":        strings.Replace(good, print, "a=fingerprint:sha-256 01", 1),
		"two sections":               good + section,
		"no section":                 good[:strings.Index(good, "m=application")],
		"an audio section":           strings.Replace(good, "m=application 9 UDP/DTLS/SCTP webrtc-datachannel", "m=audio 9 UDP/TLS/RTP/SAVPF 111", 1),
		"a section without DTLS":     strings.Replace(good, "UDP/DTLS/SCTP", "UDP/SCTP", 1),
		"two ufrags":                 good + "a=ice-ufrag:efgh\r\n",
		"two passwords":              good + "a=ice-pwd:abcdefghijklmnopqrstuw\r\n",
		"two setups":                 good + "a=setup:passive\r\n",
		"setup of an answer":         strings.Replace(good, "actpass", "active", 1),
		"a short password":           strings.Replace(good, "abcdefghijklmnopqrstuv", "abc", 1),
		"an odd password":            strings.Replace(good, "abcdefghijklmnopqrstuv", "abcdefghijklmnopqrst\"v", 1),
		"a bad sctp-init":            strings.Replace(good, "sctp-init:", "sctp-init:!", 1),
		"too many candidates":        good + strings.Repeat("a=candidate:1 1 udp 1 192.0.2.7 5000 typ host\r\n", maxCandidates),
		"too long":                   good + "a=x:" + strings.Repeat("x", maxSDP) + "\r\n",
	} {
		if d, err := parseDescription(text, setupOffer); err == nil {
			t.Errorf("%s: accepted as %+v", what, d)
		}
	}
}

var testPrintLine = "a=fingerprint:sha-256 " + testDescription(setupOffer).print.String() + "\r\n"

func FuzzDescription(f *testing.F) {
	f.Add(testDescription(setupOffer).marshal(7))
	f.Add(testDescription(setupAnswer).marshal(7))
	f.Add("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		for _, setup := range []string{setupOffer, setupAnswer} {
			d, err := parseDescription(text, setup)
			if err != nil {
				continue
			}
			if strings.Count(strings.ToLower(text), "fingerprint:") != 1 || d.setup != setup {
				t.Fatalf("accepted %q", text)
			}
			again, err := parseDescription(d.marshal(1), setup)
			if err != nil || again.print != d.print || again.ufrag != d.ufrag || again.password != d.password {
				t.Fatalf("%+v became %+v, %v", d, again, err)
			}
		}
	})
}

// goldenEnvelopes are one of each type.
func goldenEnvelopes() map[string]envelope {
	from, to := session.PeerID{1}, session.PeerID{2}
	nonce, sig := bytes.Repeat([]byte{3}, nonceSize), bytes.Repeat([]byte{4}, 64)
	candidates := []string{"1 1 udp 2130706431 192.0.2.7 5000 typ host"}
	return map[string]envelope{
		typeOffer: {
			Type: typeOffer, From: &from, To: &to, Nonce: nonce, Expires: 1767225600,
			SDP: testDescription(setupOffer).marshal(7), Sig: sig,
		},
		typeAnswer:     {Type: typeAnswer, Nonce: nonce, SDP: testDescription(setupAnswer).marshal(7), Sig: sig},
		typeRefuse:     {Type: typeRefuse, Kind: "denied", Text: "not today", Sig: sig},
		typeCandidates: {Type: typeCandidates, Generation: 2, Candidates: candidates},
		typeRestart: {
			Type: typeRestart, Step: stepOffer, Generation: 2, DirectOnly: true, Ufrag: "abcd",
			Password: "abcdefghijklmnopqrstuv", Candidates: candidates, Sig: sig,
		},
		typeConfirm: {Type: typeConfirm, Sig: sig},
		typeReady:   {Type: typeReady},
		typePing:    {Type: typePing, Number: 5},
		typePong:    {Type: typePong, Number: 5},
		typeFacts:   {Type: typeFacts, STUNFailed: true},
		typeLane:    {Type: typeLane, Number: 3, Lane: []byte(`{"v":1,"t":"ready"}`)},
		typeTCP:     {Type: typeTCP, Number: 3, Step: stepOffer, Port: 4711, Print: bytes.Repeat([]byte{5}, 32)},
		typeBye:     {Type: typeBye, Kind: "canceled", Text: "done"},
	}
}

// The bytes on the wire are those of testdata/golden; TANDEM_GOLDEN=write
// replaces them.
func TestGoldenEnvelopes(t *testing.T) {
	for name, e := range goldenEnvelopes() {
		got, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		checkGolden(t, name+".json", got)
		back, err := parseEnvelope(got)
		e.Version = version
		if err != nil || !reflect.DeepEqual(back, e) {
			t.Errorf("%s came back as %+v, %v", name, back, err)
		}
	}
}

func TestGoldenSignatures(t *testing.T) {
	tr := transcript{
		kind: kindTrunk, context: contextDigest([]byte("ctx")), offerer: session.PeerID{1}, answerer: session.PeerID{2},
		expires: 1767225600, offerNonce: bytes.Repeat([]byte{3}, nonceSize), offerSDP: sdpDigest("offer"),
		answerNonce: bytes.Repeat([]byte{5}, nonceSize), answerSDP: sdpDigest("answer"),
		offerPrint: fingerprint{6}, answerPrint: fingerprint{7},
	}
	restart := goldenEnvelopes()[typeRestart]
	for name, message := range map[string][]byte{
		"sign-offer": tr.offer(), "sign-answer": tr.answer(), "sign-confirm": tr.confirm(answerer),
		"sign-refuse": tr.refuse("denied", "not today"), "sign-restart": tr.restart(offerer, &restart),
	} {
		checkGolden(t, name+".hex", []byte(hex.EncodeToString(message)))
	}
}

func checkGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if os.Getenv("TANDEM_GOLDEN") == "write" {
		if err := os.WriteFile(path, append(got, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, bytes.TrimSuffix(want, []byte("\n"))) {
		t.Errorf("%s: got %s, want %s (%v)", name, got, want, err)
	}
}

// The list of fields signed can't be read as another list.
func TestSignedIsInjective(t *testing.T) {
	lists := [][]string{{"ab", "c"}, {"a", "bc"}, {"abc"}, {"", "abc"}, {"abc", ""}, {}}
	seen := make(map[string][]string)
	for _, fields := range lists {
		var raw [][]byte
		for _, f := range fields {
			raw = append(raw, []byte(f))
		}
		key := string(signed("label", raw...))
		if other, ok := seen[key]; ok {
			t.Errorf("%q and %q sign the same", fields, other)
		}
		seen[key] = fields
	}
}

func TestEnvelopeRefused(t *testing.T) {
	for what, change := range map[string]func(m map[string]any){
		"no version":            func(m map[string]any) { delete(m, "v") },
		"unknown type":          func(m map[string]any) { m["t"] = "offer2" },
		"no identity":           func(m map[string]any) { delete(m, "from") },
		"a malformed identity":  func(m map[string]any) { m["to"] = "x" },
		"a short nonce":         func(m map[string]any) { m["nonce"] = "AAAA" },
		"no expiry":             func(m map[string]any) { delete(m, "expires") },
		"no signature":          func(m map[string]any) { delete(m, "sig") },
		"a long SDP":            func(m map[string]any) { m["sdp"] = strings.Repeat("x", maxSDP+1) },
		"an oversized envelope": func(m map[string]any) { m["extra"] = strings.Repeat("x", MaxEnvelope) },
	} {
		e := goldenEnvelopes()[typeOffer]
		b, err := e.marshal()
		if err != nil {
			t.Fatal(err)
		}
		var m map[string]any
		if err := json.Unmarshal(b, &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		if b, err = json.Marshal(m); err != nil {
			t.Fatal(err)
		}
		if _, err := parseEnvelope(b); err == nil {
			t.Errorf("%s: accepted", what)
		}
	}
	if _, err := parseEnvelope([]byte(`{"v":2,"t":"ready"}`)); session.KindOf(err) != session.Unsupported {
		t.Errorf("a later version: %v", err)
	}
}

func FuzzEnvelope(f *testing.F) {
	for _, e := range goldenEnvelopes() {
		b, err := e.marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseEnvelope(b)
		if err != nil {
			return
		}
		again, err := e.marshal()
		if err != nil {
			return // escaping made it longer than the limit
		}
		back, err := parseEnvelope(again)
		if err != nil {
			t.Fatalf("%s is refused after a round trip: %v", again, err)
		}
		if twice, err := back.marshal(); err != nil || !bytes.Equal(again, twice) {
			t.Fatalf("%s became %s, %v", again, twice, err)
		}
	})
}
