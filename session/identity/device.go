package identity

import (
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"

	"tandem/session"
)

const (
	keyFile  = "device.key"
	nameFile = "name"
	lockFile = "lock"

	pemType       = "PRIVATE KEY" // RFC 7468, section 10
	maxKeyFile    = 4 << 10
	mailboxLabel  = "tandem/mailbox-key/1"
	sshLabel      = "tandem/ssh-host-key/1"
	sealKeyLabel  = "tandem/seal-key/1"
	opIdentity    = "identity"
	restoreDevice = "restore it from a backup; or move %s away to become a new device, which peers will have to meet again"
)

// Device is this device: its key, the keys derived from it, and its name. All
// methods may be called at the same time.
type Device struct {
	name    string
	key     ed25519.PrivateKey
	mailbox ed25519.PrivateKey
	seal    hpke.PrivateKey
}

// New makes a device that lives in memory only. An empty name becomes
// user@hostname.
func New(name string) (*Device, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	return fromKey(key, name)
}

// Open reads the device kept in dir, making the directory, the key or both on
// first use. Of several processes that do so at once, one makes the key and
// all use it. The error's kind is Denied if somebody else could read or change
// the key, Integrity if the key is damaged, NoSpace if it can't be written.
func Open(dir string) (*Device, error) {
	if err := openPrivateDir(opIdentity, dir); err != nil {
		return nil, err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, lockFile)).Lock()
	if err != nil {
		return nil, fileError(opIdentity, err)
	}
	defer unlock()

	key, err := readKey(filepath.Join(dir, keyFile))
	if session.KindOf(err) == session.NotFound && err != nil {
		key, err = makeKey(filepath.Join(dir, keyFile))
	}
	if err != nil {
		return nil, err
	}
	name, err := readPrivate(opIdentity, filepath.Join(dir, nameFile), 4*session.MaxName)
	if err != nil && session.KindOf(err) != session.NotFound {
		return nil, err
	}
	return fromKey(key, strings.TrimSpace(string(name)))
}

// SetName stores what the device kept in dir calls itself from the next Open
// on; an empty name goes back to user@hostname. The name is passed through
// session.PrintableName.
func SetName(dir, name string) error {
	if err := openPrivateDir(opIdentity, dir); err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(filepath.Join(dir, lockFile)).Lock()
	if err != nil {
		return fileError(opIdentity, err)
	}
	defer unlock()
	return writePrivate(opIdentity, filepath.Join(dir, nameFile), []byte(session.PrintableName(name)+"\n"))
}

// ID is the device's public key.
func (d *Device) ID() session.PeerID {
	return session.PeerID(d.key.Public().(ed25519.PublicKey))
}

// Name is what the device calls itself.
func (d *Device) Name() string { return d.name }

// Sign signs message with the device key. What is signed must begin with a
// label that says what for, so that no signature can be taken for another.
func (d *Device) Sign(message []byte) []byte { return ed25519.Sign(d.key, message) }

// MailboxKey owns the device's mailbox on signaling servers. It is derived
// from the device key, and does not reveal it or the ID.
func (d *Device) MailboxKey() ed25519.PrivateKey { return d.mailbox }

// SSHKey is the host key that this device's own SSH clients know it by. It is
// derived from the device key, and does not reveal it or the ID.
func (d *Device) SSHKey() (ed25519.PrivateKey, error) {
	seed, err := derive(d.key, sshLabel)
	if err != nil {
		return nil, err
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// Contact is how to reach and seal for this device, given the ID of its
// mailbox and the servers it registers with.
func (d *Device) Contact(mailbox string, servers []string) Contact {
	return Contact{Mailbox: mailbox, SealKey: d.seal.PublicKey().Bytes(), Servers: servers}
}

func fromKey(key ed25519.PrivateKey, name string) (*Device, error) {
	mailboxSeed, err := derive(key, mailboxLabel)
	if err != nil {
		return nil, err
	}
	sealSeed, err := derive(key, sealKeyLabel)
	if err != nil {
		return nil, err
	}
	exchange, err := ecdh.X25519().NewPrivateKey(sealSeed)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	seal, err := hpke.NewDHKEMPrivateKey(exchange)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	name = session.PrintableName(name)
	if name == "" {
		name = defaultName()
	}
	return &Device{name: name, key: key, mailbox: ed25519.NewKeyFromSeed(mailboxSeed), seal: seal}, nil
}

func derive(key ed25519.PrivateKey, label string) ([]byte, error) {
	out, err := hkdf.Key(sha256.New, key.Seed(), nil, label, 32)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	return out, nil
}

func readKey(path string) (ed25519.PrivateKey, error) {
	data, err := readPrivate(opIdentity, path, maxKeyFile)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(data); block != nil && block.Type == pemType {
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if key, ok := parsed.(ed25519.PrivateKey); err == nil && ok {
			return key, nil
		}
	}
	return nil, &session.Error{
		Op: opIdentity, Kind: session.Integrity, Text: "the device key is damaged",
		Hint: fmt.Sprintf(restoreDevice, path),
	}
}

func makeKey(path string) (ed25519.PrivateKey, error) {
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, &session.Error{Op: opIdentity, Kind: session.Internal, Err: err}
	}
	return key, writePrivate(opIdentity, path, pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der}))
}

// defaultName is user@hostname, or as much of it as the system tells.
func defaultName() string {
	name := "someone"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username[strings.LastIndexByte(u.Username, '\\')+1:] // Windows: DOMAIN\user
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		name += "@" + host
	}
	return session.PrintableName(name)
}
