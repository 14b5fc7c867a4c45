package identity

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"tandem/session"
	"tandem/session/identity/words"
)

// fixed is a device whose seed is the bytes 0 to 31.
func fixed(t *testing.T) *Device {
	t.Helper()
	seed := make([]byte, ed25519.SeedSize)
	for i := range seed {
		seed[i] = byte(i)
	}
	d, err := fromKey(ed25519.NewKeyFromSeed(seed), "fixed")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func wantKind(t *testing.T, err error, kind session.Kind) {
	t.Helper()
	if err == nil || session.KindOf(err) != kind {
		t.Fatalf("error = %v (kind %q), want kind %q", err, session.KindOf(err), kind)
	}
}

func TestOpenKeepsTheKey(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "home", "identity")
	first, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(first.Name(), "@") {
		t.Errorf("default name = %q", first.Name())
	}
	if err := SetName(dir, "  mel\x1b[31m laptop "); err != nil {
		t.Fatal(err)
	}
	again, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.ID() != first.ID() || !again.MailboxKey().Equal(first.MailboxKey()) {
		t.Error("the device changed between two Opens")
	}
	if again.Name() != "mel\uFFFD[31m laptop" {
		t.Errorf("name = %q", again.Name())
	}
	if !again.ID().Verify([]byte("x"), first.Sign([]byte("x"))) {
		t.Error("the signature does not verify")
	}
	left, err := filepath.Glob(filepath.Join(dir, "*.new"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporaries left: %v, %v", left, err)
	}
	other, err := New("x")
	if err != nil || other.ID() == first.ID() {
		t.Errorf("New gave an old key (%v)", err)
	}
}

func TestOpenAtOnceMakesOneKey(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ids := make([]session.PeerID, 8)
	var group sync.WaitGroup
	for i := range ids {
		group.Go(func() {
			if d, err := Open(dir); err != nil {
				t.Error(err)
			} else {
				ids[i] = d.ID()
			}
		})
	}
	group.Wait()
	for _, id := range ids {
		if id != ids[0] || id.IsZero() {
			t.Fatalf("different keys: %v", ids)
		}
	}
}

func TestOpenRefusesWhatOthersCanReach(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows keeps a profile private by ACL")
	}
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		hint  string
	}{
		{"group may read the key", func(d string) error { return os.Chmod(filepath.Join(d, keyFile), 0o640) }, "chmod 600"},
		{"others may write the key", func(d string) error { return os.Chmod(filepath.Join(d, keyFile), 0o602) }, "chmod 600"},
		{"others may enter the directory", func(d string) error { return os.Chmod(d, 0o701) }, "chmod 700"},
		{"others may read the name", func(d string) error {
			return os.WriteFile(filepath.Join(d, nameFile), []byte("x"), 0o644)
		}, "chmod 600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "id")
			if _, err := Open(dir); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			wantKind(t, err, session.Denied)
			if !strings.Contains(session.Hint(err), c.hint) {
				t.Errorf("hint = %q", session.Hint(err))
			}
		})
	}
}

func TestOpenRefusesAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give a file away")
	}
	dir := filepath.Join(t.TempDir(), "id")
	if _, err := Open(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(filepath.Join(dir, keyFile), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	_, err := Open(dir)
	wantKind(t, err, session.Denied)
}

func TestOpenRefusesDamage(t *testing.T) {
	for name, content := range map[string]string{
		"empty":     "",
		"garbage":   "not a key\n",
		"truncated": "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIA==\n-----END PRIVATE KEY-----\n",
		"rsa label": "-----BEGIN RSA PRIVATE KEY-----\nAA==\n-----END RSA PRIVATE KEY-----\n",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "id")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, keyFile)
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Open(dir)
			wantKind(t, err, session.Integrity)
			if after, _ := os.ReadFile(path); string(after) != content {
				t.Error("the damaged key was overwritten")
			}
		})
	}
	t.Run("huge", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "id")
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, keyFile), make([]byte, maxKeyFile+1), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Open(dir)
		wantKind(t, err, session.TooLarge)
	})
	t.Run("a file in the directory's place", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "id")
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil {
			t.Fatal("opened a file as a directory")
		}
	})
}

// The labels below are part of the format: other values would make every
// device lose its mailbox and what was sealed for it.
func TestDerivedKeysGolden(t *testing.T) {
	d := fixed(t)
	if got := d.ID().String(); got != "aoqqpp7tzyil4hlq3umoos6atft6jvrqtosq2xy53sdgiesvgg4a" {
		t.Errorf("ID = %s", got)
	}
	if got := hex.EncodeToString(d.MailboxKey().Seed()); got != "53f1c23e603118ab5879063cf5cb9c27f008f57b8f048e5bf56499fc03a0b9d7" {
		t.Errorf("mailbox seed = %s", got)
	}
	if got := hex.EncodeToString(d.Contact("", nil).SealKey); got != "04284d84285528ad1e0b60ed553c3dc20905da7f461627af4dc67869be0b313b" {
		t.Errorf("seal key = %s", got)
	}
	key, err := d.SSHKey()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(key.Seed()); got != "39429f4127d6bd48052eb8bbd09d41bc9715cc42f141dabdf94b5e161f664fa0" {
		t.Errorf("SSH host key's seed = %s", got)
	}
}

func TestWordsGolden(t *testing.T) {
	id := fixed(t).ID()
	if got := strings.Join(Words(id), " "); got != "annual rifle egg human aerobic hedgehog message blossom alter coconut heavy wrong" {
		t.Errorf("Words = %s", got)
	}
	groups := Groups(id)
	if strings.Join(groups[:], " ") != strings.Join(Words(id), " ") {
		t.Errorf("Groups = %v", groups)
	}
	for _, w := range Words(session.PeerID{}) {
		if _, ok := words.Index(w); !ok {
			t.Errorf("%q is not in the list", w)
		}
	}
}

func TestSeal(t *testing.T) {
	d := fixed(t)
	to := d.Contact("mailbox", []string{"https://one.example"})
	for _, message := range [][]byte{nil, []byte("hello"), bytes.Repeat([]byte("x"), MaxSealed-SealOverhead)} {
		sealed, err := to.Seal(message)
		if err != nil {
			t.Fatal(err)
		}
		if len(sealed) != len(message)+SealOverhead {
			t.Errorf("%d bytes sealed in %d", len(message), len(sealed))
		}
		if opened, err := d.Open(sealed); err != nil || !bytes.Equal(opened, message) {
			t.Errorf("Open = %d bytes, %v", len(opened), err)
		}
	}
	_, err := to.Seal(make([]byte, MaxSealed-SealOverhead+1))
	wantKind(t, err, session.TooLarge)
	_, err = d.Open(make([]byte, MaxSealed+1))
	wantKind(t, err, session.TooLarge)

	sealed, err := to.Seal([]byte("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range sealed {
		changed := bytes.Clone(sealed)
		changed[i] ^= 1
		if _, err := d.Open(changed); session.KindOf(err) != session.Integrity {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
	other, err := New("other")
	if err != nil {
		t.Fatal(err)
	}
	_, err = other.Open(sealed)
	wantKind(t, err, session.Integrity)
	for _, key := range [][]byte{nil, make([]byte, 31), make([]byte, 32)} { // the last has low order
		_, err = Contact{SealKey: key}.Seal([]byte("x"))
		wantKind(t, err, session.Invalid)
	}
}

// Sealed with the seal key of TestDerivedKeysGolden; pins suite and info.
func TestSealGolden(t *testing.T) {
	sealed, err := hex.DecodeString("1a9c10b4acc31cf81de8c9a3db0a5dbe2b803e3fba4672bfa2100d0fc025aa7a35e38a70285068e11501fa656cc829a3a1ebd0ce97e9")
	if err != nil {
		t.Fatal(err)
	}
	message, err := fixed(t).Open(sealed)
	if err != nil || string(message) != "golden" {
		t.Errorf("Open = %q, %v", message, err)
	}
}

func FuzzOpenSealed(f *testing.F) {
	d, err := New("fuzz")
	if err != nil {
		f.Fatal(err)
	}
	sealed, err := d.Contact("", nil).Seal([]byte("hello"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte{})
	f.Add(make([]byte, SealOverhead))
	f.Fuzz(func(t *testing.T, b []byte) {
		if message, err := d.Open(b); err == nil && (!bytes.Equal(b, sealed) || string(message) != "hello") {
			t.Fatalf("opened a forgery: %x", b)
		}
	})
}
