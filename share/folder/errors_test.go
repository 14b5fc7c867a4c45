package folder

import (
	"strings"
	"testing"

	"tandem/session"
)

// What is wrong with a path has the same kind in every operation that minds.
func TestErrors(t *testing.T) {
	const (
		fine = session.Kind("")
		gone = session.NotFound
		bad  = session.Invalid
		full = session.Exists
	)
	faults := []string{"nothing", "nothing/x", "file", "file/x", "dir", "empty", ""}
	table := map[string][7]session.Kind{
		//            nothing, below it, a file, below it, a folder, an empty one, the share
		"stat":      {gone, gone, fine, bad, fine, fine, fine},
		"list":      {gone, gone, bad, bad, fine, fine, fine},
		"list all":  {gone, gone, bad, bad, fine, fine, fine},
		"tree":      {gone, gone, bad, bad, fine, fine, fine},
		"read":      {gone, gone, fine, bad, bad, bad, bad},
		"fetch":     {gone, gone, fine, bad, bad, bad, bad},
		"hash":      {gone, gone, fine, bad, bad, bad, bad},
		"check":     {fine, fine, fine, bad, fine, fine, fine},
		"put":       {fine, gone, fine, full, full, full, bad},
		"mkdir":     {fine, fine, full, full, fine, fine, fine},
		"mkdir in":  {fine, fine, full, full, fine, fine, bad},
		"set":       {gone, gone, fine, bad, fine, fine, fine},
		"remove":    {gone, gone, fine, bad, fine, fine, bad},
		"purge":     {gone, gone, fine, bad, full, fine, bad},
		"move":      {gone, gone, fine, bad, fine, fine, bad},
		"move here": {fine, gone, fine, full, full, full, bad},
		"move in":   {gone, gone, full, full, fine, fine, bad},
	}
	for i, path := range faults {
		for name, req := range operations(path) {
			want, ok := table[name]
			if !ok {
				t.Fatalf("%s is not in the table", name)
			}
			dir := t.TempDir()
			grow(t, dir, "file", "dir/x", "empty/", "mine")
			rep := attack(t, dir, Write, false).try(req)
			got := fine
			if rep.Error != nil {
				got = kind(rep)
				if text := rep.Error.Text; text == "" || strings.HasPrefix(text, " ") || strings.Contains(text, dir) {
					t.Errorf("%s %q says %q", name, path, text)
				}
			}
			if got != want[i] {
				t.Errorf("%s %q: %q, not %q: %+v", name, path, got, want[i], rep.Error)
			}
		}
	}
}
