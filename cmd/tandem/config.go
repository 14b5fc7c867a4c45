package main

import (
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/v2"

	"tandem/session"
	"tandem/share/node"
	"tandem/share/terminal"
)

// config is what the file, the environment and the flags say together, each
// stronger than the one before.
type config struct {
	// Servers are the signaling servers to meet at.
	Servers []string `koanf:"servers"`
	// Name is what this device calls itself to peers.
	Name string `koanf:"name"`
	// Insecure allows plain HTTP to servers outside the local network.
	Insecure bool `koanf:"insecure"`
	// RelayOnly never uses a direct path: peers don't learn our addresses.
	RelayOnly bool `koanf:"relay_only"`
	// CAFile is a PEM file of authorities that may vouch, besides the system's,
	// for servers and relays that speak TLS.
	CAFile string `koanf:"ca_file"`
	// Log is the level of the log on standard error; empty is none.
	Log string `koanf:"log"`
	// Predict says when to show keys before their echo: auto, always or never.
	Predict terminal.Prediction `koanf:"predict"`
	// Clipboard lets programs in peers' terminals write to the clipboard.
	Clipboard bool `koanf:"clipboard"`
	// Theme is how the terminal UI looks: auto, dark, light or none.
	Theme string `koanf:"theme"`
}

// readConfig reads config.toml in the configuration folder, then TANDEM_*
// variables, then the flags.
func readConfig(io stdio, home node.Home, f *flags) (config, error) {
	path := filepath.Join(home.Config, "config.toml")
	k := koanf.New(".")
	err := k.Load(fileProvider(path), toml.Parser())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return config{}, &session.Error{
			Op: "read " + path, Kind: session.Invalid, Err: err,
			Hint: "Mend the file or move it away; the README lists its keys.",
		}
	}
	if err := k.Load(envProvider(io.env), nil); err != nil {
		return config{}, err
	}
	flagged := map[string]any{}
	if len(f.servers) > 0 {
		flagged["servers"] = f.servers
	}
	if f.log != "" {
		flagged["log"] = f.log
	}
	if f.clipboard {
		flagged["clipboard"] = true
	}
	if f.predict != "" {
		flagged["predict"] = f.predict
	}
	if err := k.Load(mapProvider(flagged), nil); err != nil {
		return config{}, err
	}
	known := map[string]bool{"servers": true, "name": true, "insecure": true, "relay_only": true, "ca_file": true, "log": true, "predict": true, "clipboard": true, "theme": true}
	for _, key := range k.Keys() {
		if !known[key] {
			return config{}, &session.Error{
				Op: "read " + path, Kind: session.Invalid, Text: "there is no setting " + session.Printable(key),
				Hint: "The README lists the settings.",
			}
		}
	}
	c := config{Predict: terminal.PredictAuto}
	if err := k.Unmarshal("", &c); err != nil {
		return config{}, &session.Error{Op: "read " + path, Kind: session.Invalid, Err: err}
	}
	switch c.Predict {
	case terminal.PredictAuto, terminal.PredictAlways, terminal.PredictNever:
	default:
		return config{}, usagef("predict is auto, always or never, not %s", session.Printable(string(c.Predict)))
	}
	return c, nil
}

// terminalConfig is how this terminal shows one of a peer's.
func (f *flags) terminalConfig(s stdio) (config, error) {
	home, err := node.FindHome(s.env)
	if err != nil {
		return config{}, err
	}
	c, err := readConfig(s, home, f)
	if kind := s.env("TERM"); kind == "" || kind == "dumb" {
		c.Predict = terminal.PredictNever
	}
	return c, err
}

// fileProvider, mapProvider and envProvider are koanf.Providers.
type fileProvider string

func (p fileProvider) ReadBytes() ([]byte, error)    { return os.ReadFile(string(p)) }
func (p fileProvider) Read() (map[string]any, error) { return nil, errors.New("not a map") }

type mapProvider map[string]any

func (p mapProvider) ReadBytes() ([]byte, error)    { return nil, errors.New("not bytes") }
func (p mapProvider) Read() (map[string]any, error) { return p, nil }

// envProvider reads TANDEM_SERVERS (separated by commas or spaces),
// TANDEM_NAME, TANDEM_INSECURE, TANDEM_RELAY_ONLY, TANDEM_CA_FILE, TANDEM_LOG,
// TANDEM_PREDICT, TANDEM_CLIPBOARD and TANDEM_THEME.
func envProvider(env func(string) string) mapProvider {
	m := mapProvider{}
	for _, key := range []string{"name", "insecure", "relay_only", "ca_file", "log", "predict", "clipboard", "theme"} {
		if v := env("TANDEM_" + strings.ToUpper(key)); v != "" {
			m[key] = v
		}
	}
	if v := env("TANDEM_SERVERS"); v != "" {
		m["servers"] = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
	}
	return m
}

// roots are the authorities that vouch for servers: the system's, and those of
// ca_file; nil if that isn't set.
func (c config) roots() (*x509.CertPool, error) {
	if c.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, &session.Error{Op: "read ca_file", Kind: session.Invalid, Err: err}
	}
	pool, err := x509.SystemCertPool()
	if err != nil { // a system that can't say has none
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, &session.Error{
			Op: "read ca_file", Kind: session.Invalid, Text: "there is no certificate in " + c.CAFile,
			Hint: "It takes certificates in PEM: -----BEGIN CERTIFICATE-----.",
		}
	}
	return pool, nil
}
