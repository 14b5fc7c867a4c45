package node

import (
	"context"
	"slices"

	"tandem/session"
	"tandem/session/grant"
	"tandem/share/forward"
)

// forwardRights are the rights to connect to some targets and listen on
// others, each as package forward has them.
func forwardRights(connect, listen []string) ([]Right, error) {
	var rights []Right
	service := Right{Service: forward.ServiceName}
	for action, texts := range map[string][]string{forward.Connect: connect, forward.Listen: listen} {
		for _, text := range texts {
			target, err := forward.ParseTarget(text)
			if err != nil {
				return nil, err
			}
			rights = append(rights, Right{Service: forward.ServiceName, Resource: target.String(), Actions: []string{action}})
		}
		if len(texts) > 0 {
			service.Actions = append(service.Actions, action)
		}
	}
	if len(rights) == 0 {
		return nil, nil
	}
	slices.Sort(service.Actions)
	slices.SortStableFunc(rights, func(a, b Right) int { return slices.Compare(a.Actions, b.Actions) })
	return append([]Right{service}, rights...), nil
}

// targets are the forward.Grants of a device: what its table says, and
// everything for its own person.
type targets struct {
	own   session.PeerID
	table *grant.Table
}

var ownTargets = []string{"localhost:*", "any"}

func (t targets) Targets(peer session.PeerID, action string) []string {
	if peer == t.own {
		return ownTargets
	}
	var all []string
	for _, r := range t.table.Rights(peer) {
		if r.Service == forward.ServiceName && r.Resource != "" && slices.Contains(r.Actions, action) {
			all = append(all, r.Resource)
		}
	}
	return all
}

func (t targets) Allow(ctx context.Context, r session.Request) (session.Permit, error) {
	if r.Peer == t.own {
		return everything{}.Allow(ctx, r)
	}
	return t.table.Allow(ctx, r)
}
