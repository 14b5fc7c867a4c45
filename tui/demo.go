package tui

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"tandem/share/node"
	"tandem/tui/page"
)

// demo is the tour's other device: a node of its own with a folder and a terminal.
type demo struct {
	node *node.Node
	dir  string
	link string
}

const demoText = `Welcome to the demo's folder.

What you copy here is there at once, and whatever happens on the way nobody reads
half a file: it appears when it is whole. This folder ends with the tour.
`

// startDemo starts a device that is nobody in particular and shares a little. It
// runs a signaling server of its own, so the tour needs no other.
func startDemo(ctx context.Context) (page.Demo, error) {
	dir, err := os.MkdirTemp("", "tandem-demo-")
	if err != nil {
		return nil, err
	}
	d := &demo{dir: filepath.Join(dir, "demo")}
	if err := d.start(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *demo) start(ctx context.Context) error {
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(d.dir, "welcome.txt"), []byte(demoText), 0o600); err != nil {
		return err
	}
	var err error
	if d.node, err = node.StartGuest(ctx, node.Config{Name: "demo"}); err != nil {
		return err
	}
	status, err := d.node.StartShare(ctx, node.Share{
		Folders: []node.Folder{{Dir: d.dir, Write: true}}, Terminal: true, Uses: 1, Expires: 10 * time.Minute, Always: true,
	})
	d.link = status.Link
	return err
}

// Link is the invite to what it shares.
func (d *demo) Link() string { return d.link }

// Join asks to come into a session.
func (d *demo) Join(ctx context.Context, link string) error {
	_, err := d.node.Join(ctx, link, nil)
	return err
}

// Close ends the device, and everything it has shared.
func (d *demo) Close() error {
	var err error
	if d.node != nil {
		err = d.node.Close()
	}
	return errors.Join(err, os.RemoveAll(filepath.Dir(d.dir)))
}
