package tui

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"tandem/session"
	"tandem/session/sessiontest"
	"tandem/share/facts"
	"tandem/share/offers"
	"tandem/share/terminal"
	jobs "tandem/tui/background"
	"tandem/tui/tuitest"
)

// style is the only sequence that a window consists of (ECMA-48, SGR).
var style = regexp.MustCompile("\x1b\\[[0-9;:]*m")

// hostile is a peer whose every word is text.
func hostile(t *testing.T, text string) func(context.Context, string, session.Header) (session.Stream, error) {
	_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
		stream, err := o.Accept()
		if err != nil {
			return
		}
		h := o.Header()
		begin, more := []byte(text), []byte(text)
		switch h.Service {
		case terminal.ServiceName:
			begin, more = terminalFrames(text), sends(0x02, append(make([]byte, 8), text...))
		case facts.ServiceName:
			begin, _ = json.Marshal(oddFacts(text))
		case offers.ServiceName:
			begin, _ = json.Marshal(map[string]any{"offers": []offers.Offer{{Service: text, Resource: text, Actions: []string{text}}, {Service: terminal.ServiceName, Actions: []string{"view", "control"}}}})
		}
		if _, err := stream.Write(begin); err != nil {
			return
		}
		if h.Service == facts.ServiceName || h.Service == offers.ServiceName {
			_ = stream.Close()
			return
		}
		buffer := make([]byte, 1024)
		for {
			if _, err := stream.Read(buffer); err != nil {
				_ = stream.Close()
				return
			}
			if _, err := stream.Write(more); err != nil {
				return
			}
		}
	}, nil)
	return func(ctx context.Context, _ string, h session.Header) (session.Stream, error) {
		return guest.Open(ctx, h)
	}
}

// sends is a frame of terminal/1.
func sends(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind}, uint32(len(body))), body...)
}

// terminalFrames begin a terminal that we may type in, where others are.
func terminalFrames(text string) []byte {
	welcome, _ := json.Marshal(map[string]any{
		"terminal": strings.Repeat("0a", 16), "name": text, "right": "control", "viewer": 1, "offset": 0, "live": 0, "cols": 60, "rows": 12,
	})
	viewer := func(n int) map[string]any {
		return map[string]any{"viewer": n, "peer": tuitest.ID(n).String(), "name": text, "right": "control", "cols": 80, "rows": 20, "asks": 1}
	}
	roster, _ := json.Marshal(map[string]any{"viewers": []any{viewer(1), viewer(2)}, "answers": 1, "typist": 2, "pinned": true})
	return append(append(sends(0x01, welcome), sends(0x05, roster)...), sends(0x02, append(make([]byte, 8), text...))...)
}

func oddFacts(text string) facts.Facts {
	return facts.Facts{
		Time: tuitest.Now(), Hostname: text, OS: facts.OS{Name: text, Platform: text, Version: text, Kernel: text, Arch: text},
		CPU: facts.CPU{Cores: -1, Busy: 1e300}, Memory: facts.Memory{Total: 1, Available: 1 << 63},
		Disks:     []facts.Disk{{Mount: text, Type: text, Total: 0, Free: 1 << 63}},
		Processes: facts.Processes{Count: -1, Top: []facts.Process{{Name: text, User: text, CPU: -1}}},
		Users:     []facts.User{{Name: text, Terminal: text}}, Reboot: facts.Reboot{Pending: true, Why: []string{text}},
		Unknown: []string{text}, Addresses: []facts.Address{{Interface: text, Address: text}},
	}
}

// oddFolder is a folder where everything is called text, whatever one looks into.
type oddFolder string

func (o oddFolder) List(context.Context, string) ([]jobs.Entry, int, error) {
	name := string(o)
	return []jobs.Entry{
		{Name: name, Size: -1}, {Name: name + "d", Dir: true}, {Name: name + "l", Other: "special"}, {Name: name + ".png", Size: 1 << 62, Exec: true}, {Name: ".." + name},
	}, 3, nil
}

func (o oddFolder) Head(_ context.Context, _ string, limit int) ([]byte, error) {
	return []byte(o)[:min(len(o), limit)], nil
}

func (o oddFolder) Mkdir(context.Context, string) error {
	return session.Errorf("", session.Denied, "%s", string(o))
}
func (o oddFolder) Move(context.Context, string, string) error     { return nil }
func (o oddFolder) Remove(context.Context, string) (string, error) { return string(o), nil }
func (o oddFolder) Join(dir, name string) string                   { return dir + "/" + name }
func (o oddFolder) Parent(dir string) (parent, name string) {
	i := strings.LastIndexByte(dir, '/')
	if i < 0 {
		return dir, ""
	}
	return dir[:i], dir[i+1:]
}
