package main

import (
	"strings"

	"github.com/spf13/pflag"

	"tandem/share/node"
	"tandem/share/terminal"
)

// recordFlags are --record and --record-input.
type recordFlags struct {
	to    string
	input bool
}

const (
	recordDefault  = "default" // the folder for recordings in tandem's state
	recordRequired = "required"
)

// addTo adds the flags of a host, whose --record needs no value.
func (r *recordFlags) addTo(fs *pflag.FlagSet) {
	fs.StringVar(&r.to, "record", "", "record the terminal: into tandem's own folder, =FILE or =DIR; "+
		"=required or =required:FILE shares nothing that can't be recorded")
	fs.Lookup("record").NoOptDefVal = recordDefault
	r.addInput(fs)
}

// addToGuest adds the flags of a guest.
func (r *recordFlags) addToGuest(fs *pflag.FlagSet) {
	fs.StringVar(&r.to, "record", "", "record what you see into a FILE, a DIR, or tandem's own folder (default); "+
		"required or required:FILE leaves when it can't be recorded")
	r.addInput(fs)
}

func (r *recordFlags) addInput(fs *pflag.FlagSet) {
	fs.BoolVar(&r.input, "record-input", false, "record what is typed as well, passwords included; without it, only what is shown")
}

func (r *recordFlags) given() bool { return r.to != "" || r.input }

// recording is what the flags ask for; nil is no recording.
func (r *recordFlags) recording(io stdio) (*terminal.Recording, error) {
	switch {
	case r.to == "" && r.input:
		return nil, usagef("--record-input needs --record")
	case r.to == "":
		return nil, nil
	}
	how, path, _ := strings.Cut(r.to, ":")
	required := how == recordRequired
	if !required {
		path = r.to
	}
	if path == "" || path == recordDefault {
		home, err := node.FindHome(io.env)
		if err != nil {
			return nil, err
		}
		path = home.Recordings()
	}
	return &terminal.Recording{Path: path, Input: r.input, Required: required}, nil
}
