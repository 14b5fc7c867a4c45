//go:build unix

package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// TestAutomaticCertificate runs tandem server --domain against pebble, the test
// server of Let's Encrypt's authority, all of it on loopback: the certificate is
// obtained over the server's own port, and kept over a restart.
func TestAutomaticCertificate(t *testing.T) {
	pebble := os.Getenv("TANDEM_PEBBLE")
	if pebble == "" {
		t.Skip("set TANDEM_PEBBLE to what .ci/pebble/build prints")
	}
	const domain = "tandem.example"
	dir := t.TempDir()
	port, acme, management := freePort(t), freePort(t), freePort(t)
	certificate, _ := relayAuthority(t, net.IPv4(127, 0, 0, 1))
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	authority := write("ca.pem", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Certificate[0]}))
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress":           fmt.Sprintf("127.0.0.1:%d", acme),
		"managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate":             authority,
		"privateKey":              write("ca.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
		"httpPort":                1, "tlsPort": port,
	}})
	if err != nil {
		t.Fatal(err)
	}
	ca := exec.Command(pebble, "-config", write("pebble.json", config), "-dnsserver", everythingIsHere(t))
	ca.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0")
	ca.Stdout, ca.Stderr = logTo(t, "pebble"), logTo(t, "pebble")
	if err := ca.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = ca.Process.Kill()
		_ = ca.Wait() // it was killed
	})

	home := filepath.Join(dir, "home")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	serve := func() (stop func()) {
		s := exec.Command("tandem", "server", "--json", "--domain", domain, "--listen", fmt.Sprintf("127.0.0.1:%d", port),
			"--no-relay", "--drain", "1s", "--acme-directory", fmt.Sprintf("https://127.0.0.1:%d/dir", acme))
		s.Env = append(os.Environ(), "TANDEM_HOME="+home, "TANDEM_CA_FILE="+authority)
		s.Stderr = logTo(t, "server")
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		return func() {
			_ = s.Process.Signal(os.Interrupt)
			if err := s.Wait(); err != nil {
				t.Error("the server ended with ", err)
			}
		}
	}
	trust := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: trusting(t, authority)}}
	leaf := func() *x509.Certificate {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
			got, err := presented(trust, management, port, domain)
			if err == nil {
				return got
			}
			if time.Now().After(deadline) {
				t.Fatal("no certificate: ", err)
			}
		}
	}
	stop := serve()
	first := leaf()
	stop()
	defer serve()()
	if again := leaf(); again.SerialNumber.Cmp(first.SerialNumber) != 0 {
		t.Error("the certificate was not kept over a restart")
	}
}

// freePort is a port that nobody has at the moment.
func freePort(t *testing.T) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return addrPort(l)
}

func trusting(t *testing.T, authority string) *tls.Config {
	t.Helper()
	data, err := os.ReadFile(authority)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data)
	return &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
}

// presented is the certificate that the server on port has for domain, if the
// authority's root vouches for it.
func presented(client *http.Client, management, port uint16, domain string) (*x509.Certificate, error) {
	resp, err := client.Get(fmt.Sprintf("https://127.0.0.1:%d/roots/0", management))
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	root, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(root)
	conn, err := tls.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{RootCAs: roots, ServerName: domain, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// logTo is where a program beside the test writes: the test's log.
func logTo(t *testing.T, who string) io.Writer {
	t.Helper()
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines := bufio.NewScanner(r); lines.Scan(); {
			t.Log(who, lines.Text())
		}
		_, _ = io.Copy(io.Discard, r) // a line that was too long
	}()
	t.Cleanup(func() { _ = w.Close(); <-done })
	return w
}

// everythingIsHere is a name server for which every name is 127.0.0.1. Pebble asks
// over TCP.
func everythingIsHere(t *testing.T) string {
	return listen(t, func(conn net.Conn) {
		for {
			var size [2]byte
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return
			}
			query := make([]byte, binary.BigEndian.Uint16(size[:]))
			if _, err := io.ReadFull(conn, query); err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(query) != nil || len(m.Questions) != 1 {
				return
			}
			reply := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true}, Questions: m.Questions}
			if q := m.Questions[0]; q.Type == dnsmessage.TypeA {
				reply.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1},
					Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
				}}
			}
			data, err := reply.Pack()
			if err != nil {
				return
			}
			_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(data))), data...)) // it asks again
		}
	})
}
