package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"tandem/session"
	"tandem/session/audit"
	"tandem/share/command"
	"tandem/share/forward"
	"tandem/share/terminal"
)

// requested says for the audit log what exactly a request asks for: a
// forward's target, or the program to run.
func requested(h session.Header) string {
	switch h.Service {
	case forward.ServiceName:
		return forward.Requested(h)
	case command.ServiceName:
		return command.Requested(h)
	case terminal.ServiceName:
		var p terminal.Params
		if json.Unmarshal(h.Params, &p) == nil && p.Argv != nil {
			return fmt.Sprintf("%q", p.Argv)
		}
	}
	return ""
}

// record puts what happens at the door into the audit log, on the disk.
func (n *Node) record(outcome audit.Outcome, peer session.Peer, resource, reason string) error {
	_, err := n.audit.Commit(audit.Entry{Outcome: outcome, Peer: peer.ID, Name: peer.Name, Resource: resource, Reason: reason})
	return err
}

// listRights names rights in a line, for the record.
func listRights(rights []Right) string {
	parts := make([]string, len(rights))
	for i, r := range rights {
		parts[i] = fmt.Sprintf("%s (%s)", strings.TrimSpace(r.Service+" "+r.Resource), strings.Join(r.Actions, ", "))
	}
	return strings.Join(parts, "; ")
}

// AuditEntry is one entry of the audit log.
type AuditEntry = audit.Entry

// AuditReport is what VerifyAudit has found.
type AuditReport = audit.Report

// AuditFilter picks entries. The zero AuditFilter picks all.
type AuditFilter struct {
	Peer    string // as people name peers, or what one calls itself
	Service string // with or without its version
	Since   time.Time
	Follow  bool // wait for more when there is none
}

// ReadAudit calls each with the entries of a home's audit log that the filter
// picks, the oldest first, fit to be shown. No node needs to run. bad is told of
// lines that are no entries.
func ReadAudit(ctx context.Context, home Home, filter AuditFilter, each func(AuditEntry) error, bad func(error)) error {
	about, err := aboutPeer(home, filter.Peer)
	if err != nil {
		return err
	}
	picks := func(e AuditEntry) bool {
		service, _, _ := strings.Cut(e.Service, "/")
		if filter.Service != "" && filter.Service != service && filter.Service != e.Service {
			return false
		}
		return !e.Time.Before(filter.Since) && about(e)
	}
	r := audit.NewReader(home.auditLog())
	defer func() { _ = r.Close() }() // it was only read
	next := func(context.Context) (AuditEntry, error) { return r.Next() }
	if filter.Follow {
		next = r.Follow
	}
	for ctx.Err() == nil {
		e, err := next(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case session.KindOf(err) == session.Integrity:
			bad(err)
		case err != nil:
			return err
		default:
			if e = e.Printable(); picks(e) {
				if err := each(e); err != nil {
					return err
				}
			}
		}
	}
	return context.Cause(ctx)
}

// VerifyAudit finds out whether a home's audit log is as it was written. known
// is a head that an earlier report had, or "".
func VerifyAudit(home Home, known string) (AuditReport, error) {
	var head audit.Anchor
	if known != "" {
		var err error
		if head, err = audit.ParseAnchor(known); err != nil {
			return AuditReport{}, err
		}
	}
	return audit.VerifyFrom(home.auditLog(), head)
}
