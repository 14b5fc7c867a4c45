package page_test

import (
	"fmt"
	"testing"

	"tandem/share/folder"
	"tandem/share/node"
	"tandem/tui/page"
	"tandem/tui/theme"
	"tandem/tui/tuitest"
)

// What a guest would copy is shown with what is unusual about it first, and in
// full, however much it is.
func TestApprovalOfPushGolden(t *testing.T) {
	b := tuitest.Busy()
	push := node.Push{
		Folder: "project", Files: 45, Folders: 2, Bytes: 123456, Replaces: 1, Executable: 2, Hidden: 1, Others: 3,
		Items: []folder.Pushed{
			{Path: "src/main\u202e.go", Size: 1200, Replaces: true},
			{Path: "run.sh", Size: 40, Executable: true, Hidden: false},
			{Path: ".git/hooks/post-checkout", Size: 99, Executable: true, Hidden: true},
		},
	}
	for i := range 39 {
		push.Items = append(push.Items, folder.Pushed{Path: fmt.Sprintf("docs/page-%02d.md", i), Size: int64(i * 100)})
	}
	r := tuitest.Request("r1", 9, "Eve", "s1")
	r.Kind, r.Push, r.Guest.Offers = node.RequestPush, &push, nil
	r.Path = b.Has.Peers[0].Path
	tuitest.Page(t, "approval-push", func(look theme.Theme) page.Page {
		return page.NewApproval(tuitest.Env(t, b, look), r, "project", nil, nil)
	})
}
