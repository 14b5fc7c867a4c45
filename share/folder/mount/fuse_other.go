//go:build !linux

package mount

import "tandem/session"

// Mounted is a tree that is mounted.
type Mounted struct{}

// Mount says that this platform has no FUSE that needs no installation.
func Mount(*Tree, string, string) (*Mounted, error) {
	return nil, &session.Error{
		Op: "mount", Kind: session.Unsupported, Text: "folders are mounted by FUSE on Linux only",
		Hint: "--webdav serves them to file managers.",
	}
}

// Wait returns at once: nothing is mounted.
func (*Mounted) Wait() {}

// Unmount does nothing.
func (*Mounted) Unmount() error { return nil }
