package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"tandem/session"
	"tandem/share/node"
)

// What ssh-config writes into the state folder.
const (
	sshConfigFile = "ssh_config"
	sshKnownFile  = "ssh_known_hosts"
	// sshHostAlias is what ssh knows every peer's server by: it is this device.
	sshHostAlias = "tandem"
)

func newSSHConfig(io stdio, f *flags) *cobra.Command {
	var install bool
	cmd := &cobra.Command{
		Use:   "ssh-config [PEER…]",
		Short: "Set up ssh, scp, sftp, rsync, git and editors for your peers",
		Long: strings.TrimSpace(`
Print what makes "ssh PEER.tandem" work, for ~/.ssh/config, or with --install
put it there. With peers as arguments, their bare names work too. The host key
is pinned: ssh never asks about it, nor for a password.

What a guest may do by ssh is what it may do by tandem: programs and files where
it may type into a terminal, ports where it may forward.`),
		Example: `  tandem ssh-config --install
  ssh alice.tandem uptime
  rsync -a project/ alice.tandem:project/`,
		Args: cobra.ArbitraryArgs,
		RunE: func(_ *cobra.Command, args []string) error { return runSSHConfig(io, f, args, install) },
	}
	cmd.Flags().BoolVar(&install, "install", false, "write it, and have ~/.ssh/config include it")
	return cmd
}

func runSSHConfig(io stdio, f *flags, peers []string, install bool) error {
	cfg, err := nodeConfig(io, f)
	if err != nil {
		return err
	}
	key, err := node.SSHKey(cfg.Home)
	if err != nil {
		return err
	}
	block, err := sshBlock(io, cfg.Home, peers)
	if err != nil {
		return err
	}
	knownHosts := []byte(sshHostAlias + " " + string(ssh.MarshalAuthorizedKey(key.PublicKey())))
	if err := replaceFile(filepath.Join(cfg.Home.State, sshKnownFile), knownHosts); err != nil {
		return err
	}
	if !install {
		_, err := io.out.Write(block)
		return err
	}
	ours := filepath.Join(cfg.Home.State, sshConfigFile)
	if err := replaceFile(ours, block); err != nil {
		return err
	}
	theirs, err := includeSSHConfig(io, ours)
	if err != nil {
		return err
	}
	fmt.Fprintf(io.out, "%s includes %s: ssh PEER%s works.\n", theirs, ours, sshSuffix)
	return nil
}

// sshBlock is the configuration for ssh. A home of its own goes with it: ssh
// may run where the variable isn't set.
func sshBlock(io stdio, home node.Home, peers []string) ([]byte, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, &session.Error{Op: "find tandem", Err: err}
	}
	proxy := shellQuote(self) + " proxy %h"
	if io.env("TANDEM_HOME") != "" {
		if proxy = "TANDEM_HOME=" + shellQuote(home.State) + " " + proxy; runtime.GOOS != "windows" {
			proxy = "env " + proxy
		}
	}
	known, err := sshPath(filepath.Join(home.State, sshKnownFile))
	if err != nil {
		return nil, err
	}
	hosts := "*" + sshSuffix
	for _, p := range peers {
		p = strings.TrimSuffix(p, sshSuffix)
		if p == "" || strings.ContainsAny(p, " \t\r\n\"'*?!,#%\\") || p != session.PrintableName(p) || strings.HasPrefix(p, "-") {
			return nil, usagef("%q can't be a host for ssh; use the beginning of its ID", p)
		}
		hosts += " " + p
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Written by `tandem ssh-config`.\nHost %s\n", hosts)
	for _, line := range []string{
		"ProxyCommand " + proxy,
		"ProxyUseFdpass no",
		"UserKnownHostsFile " + known,
		"GlobalKnownHostsFile none",
		"StrictHostKeyChecking yes",
		"UpdateHostKeys no",
		"VerifyHostKeyDNS no",
		"CheckHostIP no",
		"HostKeyAlias " + sshHostAlias,
		"HostKeyAlgorithms ssh-ed25519",
		// Both ends of the pipe are here: what costs least.
		"Ciphers ^aes128-gcm@openssh.com",
		"Compression no",
		"PreferredAuthentications none",
		"PubkeyAuthentication no",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
	} {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	return b.Bytes(), nil
}

// shellQuote makes one word of s for the shell that runs a ProxyCommand, in
// which ssh expands percent signs before.
func shellQuote(s string) string {
	s = strings.ReplaceAll(s, "%", "%%")
	if runtime.GOOS == "windows" {
		return `"` + s + `"`
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+,:@%", r)
	}
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// sshPath makes one argument of a path in ssh's configuration.
func sshPath(path string) (string, error) {
	if strings.ContainsAny(path, "\"\r\n") {
		return "", &session.Error{
			Op: "ssh-config", Kind: session.Invalid, Text: fmt.Sprintf("ssh's configuration can't name %s", session.Printable(path)),
			Hint: "Set TANDEM_HOME to a plainer folder.",
		}
	}
	path = strings.ReplaceAll(filepath.ToSlash(path), "%", "%%")
	if strings.ContainsAny(path, " \t'#\\") {
		return `"` + path + `"`, nil
	}
	return path, nil
}

// includeSSHConfig has the person's configuration of ssh include a file, at
// its beginning, where no Host block has begun. It returns the file's name.
func includeSSHConfig(io stdio, file string) (string, error) {
	home := io.env("HOME")
	if home == "" {
		dir, err := os.UserHomeDir()
		if err != nil {
			return "", &session.Error{Op: "ssh-config", Kind: session.Invalid, Err: err}
		}
		home = dir
	}
	dir := filepath.Join(home, ".ssh")
	path := filepath.Join(dir, "config")
	file, err := sshPath(file)
	if err != nil {
		return "", err
	}
	line := []byte("Include " + file + "\n")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &session.Error{Op: "ssh-config", Err: err}
	}
	old, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", &session.Error{Op: "ssh-config", Err: err}
	}
	for l := range bytes.Lines(old) {
		if bytes.Equal(bytes.TrimSpace(l), bytes.TrimSpace(line)) {
			return path, nil
		}
	}
	// A link is somebody's way to keep this file elsewhere.
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		target = path // not there yet
	}
	return path, replaceFile(target, append(line, old...))
}

// replaceFile writes a file for its user alone, whole or not at all.
func replaceFile(path string, data []byte) error {
	failed := func(err error) error { return &session.Error{Op: "ssh-config", Err: err} }
	mode := fs.FileMode(0o600)
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm() &^ 0o022 // which ssh would refuse
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return failed(err)
	}
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return failed(errors.Join(err, os.Remove(tmp.Name())))
	}
	return nil
}
