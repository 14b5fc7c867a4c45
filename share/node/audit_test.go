package node

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/share/folder"
	"tandem/share/terminal"
	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// logged are the entries of somebody's audit log that a filter picks.
func (p *person) logged(t *testing.T, f AuditFilter) (entries []AuditEntry) {
	t.Helper()
	err := ReadAudit(t.Context(), p.cfg.Home, f, func(e AuditEntry) error {
		entries = append(entries, e)
		return nil
	}, func(err error) { t.Error(err) })
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

func TestAudit(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}})
	bob.meet(t, shared.Code)
	id := alice.device.ID()
	if err := bob.hostile(t, id, session.Header{Service: folder.Name, Resource: "elsewhere", Action: "read"}); session.KindOf(err) != session.Denied {
		t.Fatal(err)
	}
	entries := alice.logged(t, AuditFilter{})
	if len(entries) != 3 || entries[0].Outcome != audit.Invited || entries[0].Peer != (session.PeerID{}) ||
		entries[1].Outcome != audit.Approved || entries[1].Peer != bob.device.ID() || !strings.Contains(entries[1].Reason, "folder/1 project (read)") ||
		entries[2].Outcome != audit.Denied || entries[2].Resource != "elsewhere" {
		t.Errorf("%+v", entries)
	}
	for filter, want := range map[AuditFilter]int{
		{Peer: "bob"}: 2, {Peer: bob.device.ID().String()[:6]}: 2, {Peer: "nobody"}: 0, {Service: "folder"}: 1, {Service: "folder/1"}: 1,
		{Service: "terminal"}: 0, {Since: time.Now().Add(time.Hour)}: 0, {Since: time.Now().Add(-time.Hour)}: 3,
	} {
		if got := alice.logged(t, filter); len(got) != want {
			t.Errorf("%+v picks %d, not %d", filter, len(got), want)
		}
	}
	report, err := VerifyAudit(alice.cfg.Home, "")
	if err != nil || len(report.Problems) > 0 || report.Entries != 3 {
		t.Errorf("%+v, %v", report, err)
	}
	if _, err := VerifyAudit(alice.cfg.Home, "nonsense"); session.KindOf(err) != session.Invalid {
		t.Error(err)
	}

	// Following ends with its context.
	ctx, stop := context.WithCancel(t.Context())
	err = ReadAudit(ctx, alice.cfg.Home, AuditFilter{Follow: true}, func(e AuditEntry) error {
		if e.Seq == 3 {
			stop()
		}
		return nil
	}, func(error) {})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// TestRefusedTypingIsRecorded: who may only watch a terminal and types into it
// anyway is in the log for that.
func TestRefusedTypingIsRecorded(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.share(t, Share{Terminal: true, ViewOnly: true})
	bob.meet(t, shared.Code)
	s := bob.host.Session(alice.device.ID())
	stream, err := s.Open(within(t), session.Header{Service: terminal.ServiceName, Action: string(terminal.View)})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Write([]byte("\x41\x00\x00\x00\x01x")); err != nil {
		t.Fatal(err)
	}
	_ = stream.SetDeadline(time.Now().Add(soon))
	if _, err := io.Copy(io.Discard, stream); session.KindOf(err) != session.Denied {
		t.Error(err)
	}
	err = ReadAudit(within(t), alice.cfg.Home, AuditFilter{Peer: "bob", Service: "terminal", Follow: true}, func(e AuditEntry) error {
		switch e.Outcome {
		case audit.Allowed:
			return nil
		case audit.Failed:
			if e.Action != "view" || !strings.Contains(e.Reason, "not type") {
				t.Errorf("%+v", e)
			}
		default:
			t.Errorf("%+v", e)
		}
		return io.EOF
	}, func(err error) { t.Error(err) })
	if !errors.Is(err, io.EOF) {
		t.Error(err)
	}
}

// TestTrustNothingUnrecorded is trust rule 11: who can't be recorded is not let
// in, and nothing is granted to them.
func TestTrustNothingUnrecorded(t *testing.T) {
	url := signalingtest.Start(t, server.Config{}).URL
	alice, bob := begin(t, "alice", url), begin(t, "bob", url)
	shared := alice.share(t, Share{Folders: []Folder{{Dir: folderOf(t, "project")}}, Uses: 3})
	// The log is somewhere else now: as bad as a full disk, and works for root too.
	dir := filepath.Join(alice.cfg.Home.State, "audit")
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Join(within(t), shared.Code, nil); session.KindOf(err) != session.Unavailable || !strings.Contains(err.Error(), "audit log") {
		t.Errorf("joined: %v", err)
	}
	if rights := alice.grants.Rights(bob.device.ID()); len(rights) > 0 {
		t.Errorf("granted %+v", rights)
	}
	if _, err := alice.StartShare(within(t), Share{Folders: []Folder{{Dir: folderOf(t, "other")}}, Always: true}); err == nil {
		t.Error("shared what can't be recorded")
	}

	// Once it can be written again, things go on.
	if err := errors.Join(os.Remove(dir), os.Rename(dir+".away", dir)); err != nil {
		t.Fatal(err)
	}
	bob.meet(t, shared.Code)
	if report, err := VerifyAudit(alice.cfg.Home, ""); err != nil || len(report.Problems) > 0 {
		t.Errorf("%+v, %v", report, err)
	}
}
