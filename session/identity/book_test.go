package identity

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tandem/session"
)

func bookPath(t interface{ TempDir() string }) string {
	return filepath.Join(t.TempDir(), "home", "peers.jsonl")
}

func openBook(t *testing.T, path string) *Book {
	t.Helper()
	b, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func add(t *testing.T, b *Book, e Entry) Entry {
	t.Helper()
	got, err := b.Add(e)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func id(first byte) (id session.PeerID) {
	id[0], id[31] = first, 1
	return id
}

func TestBookRemembers(t *testing.T) {
	path := bookPath(t)
	b := openBook(t, path)
	when := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	contact := Contact{Mailbox: "m", SealKey: make([]byte, 32), Servers: []string{"https://a"}}
	anna := add(t, b, Entry{ID: id(1), Name: "anna", Contact: contact, Added: when})
	if anna.Alias != "anna" {
		t.Errorf("alias = %q", anna.Alias)
	}
	again := openBook(t, path)
	got, ok, err := again.Get(id(1))
	if err != nil || !ok || !got.Contact.Equal(contact) || !got.Added.Equal(when) || got.Name != "anna" {
		t.Errorf("Get = %+v, %v, %v", got, ok, err)
	}
	// What is new is taken over; what is empty and when we met stay.
	moved := add(t, again, Entry{ID: id(1), Name: "anna@new", Added: when.Add(time.Hour)})
	if moved.Alias != "anna" || moved.Name != "anna@new" || !moved.Contact.Equal(contact) || !moved.Added.Equal(when) {
		t.Errorf("after an update: %+v", moved)
	}
	// The first book sees what the second wrote.
	if got, _, err := b.Get(id(1)); err != nil || got.Name != "anna@new" {
		t.Errorf("Get = %+v, %v", got, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	add(t, b, moved)
	if same, err := os.Stat(path); err != nil || same.Size() != info.Size() {
		t.Error("saying the same again made the book longer")
	}
}

func TestBookAliases(t *testing.T) {
	b := openBook(t, bookPath(t))
	for i, want := range []string{"root@box", "root@box-2", "root@box-3"} {
		if got := add(t, b, Entry{ID: id(byte(i + 1)), Name: "root@box"}); got.Alias != want {
			t.Errorf("alias = %q, want %q", got.Alias, want)
		}
	}
	for i, name := range []string{"", "--help", "../../etc", "a:b c", strings.Repeat("é", 60), id(9).String(), "\x1b[2J"} {
		got := add(t, b, Entry{ID: id(byte(100 + i)), Name: name})
		if !validAlias(got.Alias) {
			t.Errorf("name %q became alias %q", name, got.Alias)
		}
	}
	// An alias somebody has is not given to another, whatever its case.
	_, err := b.Add(Entry{ID: id(50), Alias: "ROOT@box"})
	wantKind(t, err, session.Integrity)
	_, err = b.Add(Entry{ID: id(2), Alias: "root@box"})
	wantKind(t, err, session.Integrity)
	if _, ok, _ := b.Get(id(50)); ok {
		t.Error("the refused entry was written")
	}
	if got := add(t, b, Entry{ID: id(2), Alias: "box"}); got.Alias != "box" {
		t.Errorf("alias = %q", got.Alias)
	}
	for _, alias := range []string{"-x", "a b", "a:b", "a/b", id(9).String(), strings.Repeat("x", 65), "\x07"} {
		_, err := b.Add(Entry{ID: id(51), Alias: alias})
		wantKind(t, err, session.Invalid)
	}
	_, err = b.Add(Entry{Alias: "nobody"})
	wantKind(t, err, session.Invalid)
	_, err = b.Add(Entry{ID: id(51), Contact: Contact{Mailbox: strings.Repeat("m", 1000)}})
	wantKind(t, err, session.Invalid)
}

func TestBookFind(t *testing.T) {
	b := openBook(t, bookPath(t))
	one, two := id(1), id(1)
	two[30] = 7
	add(t, b, Entry{ID: one, Alias: "one"})
	add(t, b, Entry{ID: two, Alias: "two"})
	add(t, b, Entry{ID: id(200), Alias: "far"})
	for ref, want := range map[string]session.PeerID{
		"one": one, "TWO": two, " far ": id(200), one.String(): one,
		id(200).String()[:6]: id(200), strings.ToUpper(id(200).Short()): id(200),
	} {
		if got, err := b.Find(ref); err != nil || got.ID != want {
			t.Errorf("Find(%q) = %v, %v", ref, got.Alias, err)
		}
	}
	for ref, kind := range map[string]session.Kind{
		"nobody": session.NotFound, id(200).String()[:5]: session.NotFound, "": session.NotFound,
		id(77).String(): session.NotFound, one.String()[:10]: session.Invalid,
	} {
		_, err := b.Find(ref)
		wantKind(t, err, kind)
		if kind == session.Invalid && (!strings.Contains(err.Error(), "one") || !strings.Contains(err.Error(), "two")) {
			t.Errorf("the ambiguity is not listed: %v", err)
		}
	}
	// A peer that calls itself by the beginning of another's ID does not become it.
	add(t, b, Entry{ID: id(3), Name: id(200).Short()})
	_, err := b.Find(id(200).Short())
	wantKind(t, err, session.Invalid)
}

func TestBookTornLine(t *testing.T) {
	path := bookPath(t)
	b := openBook(t, path)
	add(t, b, Entry{ID: id(1), Alias: "one"})
	add(t, b, Entry{ID: id(2), Alias: "two"})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	first := strings.IndexByte(string(whole), '\n') + 1
	for cut := first; cut < len(whole); cut++ {
		if err := os.WriteFile(path, whole[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		b := openBook(t, path)
		list, err := b.List()
		if err != nil || len(list) != 1 || list[0].Alias != "one" {
			t.Fatalf("cut at %d: %v, %v", cut, list, err)
		}
		add(t, b, Entry{ID: id(3), Alias: "3", Added: time.Unix(0, 0)}) // shorter than what was left
		if list, err = openBook(t, path).List(); err != nil || len(list) != 2 {
			t.Fatalf("cut at %d, after another line: %v, %v", cut, list, err)
		}
		if data, err := os.ReadFile(path); err != nil || data[len(data)-1] != '\n' {
			t.Fatalf("cut at %d: the rest of the torn line is still there (%v)", cut, err)
		}
	}
}

func TestBookRefusesDamage(t *testing.T) {
	path := bookPath(t)
	b := openBook(t, path)
	add(t, b, Entry{ID: id(1), Alias: "one"})
	add(t, b, Entry{ID: id(2), Alias: "two"})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{
		"not JSON":                 "x" + string(whole),
		"an alias changes hands":   strings.Replace(string(whole), `"two"`, `"ONE"`, 1),
		"no ID":                    `{"alias":"x"}` + "\n",
		"escape sequence in alias": strings.Replace(string(whole), `"two"`, `"\u001b[2J"`, 1),
		"long line":                strings.Replace(string(whole), `"alias":"two"`, `"alias":"two","x":"`+strings.Repeat("x", maxLine)+`"`, 1),
		"long contact":             strings.Replace(string(whole), `"alias":"two"`, `"alias":"two","contact":{"mailbox":"`+strings.Repeat("m", 200)+`"}`, 1),
	} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := OpenBook(path)
		if session.KindOf(err) != session.Integrity && session.KindOf(err) != session.Internal || err == nil || session.Hint(err) == "" {
			t.Errorf("%s: %v (hint %q)", name, err, session.Hint(err))
		}
		// The book that is open already notices too, and writes nothing.
		if _, err := b.Add(Entry{ID: id(3), Alias: "three"}); err == nil {
			t.Errorf("%s: added to a damaged book", name)
		}
		if after, _ := os.ReadFile(path); string(after) != content {
			t.Errorf("%s: the damaged book was changed", name)
		}
	}
	if err := os.WriteFile(path, whole, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = OpenBook(path)
	wantKind(t, err, session.Denied)
}

func TestBookManyWriters(t *testing.T) {
	path := bookPath(t)
	const writers, each = 4, 10
	var group sync.WaitGroup
	for w := range writers {
		b := openBook(t, path)
		group.Go(func() {
			for i := range each {
				if _, err := b.Add(Entry{ID: id(byte(w*each + i + 1)), Name: "same"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	list, err := openBook(t, path).List()
	if err != nil || len(list) != writers*each {
		t.Fatalf("%d entries, %v", len(list), err)
	}
	aliases := map[string]bool{}
	for _, e := range list {
		aliases[e.Alias] = true
	}
	if len(aliases) != writers*each {
		t.Errorf("%d aliases for %d peers", len(aliases), writers*each)
	}
}

func TestBookIsRewritten(t *testing.T) {
	path := bookPath(t)
	b, reader := openBook(t, path), openBook(t, path)
	add(t, b, Entry{ID: id(2), Alias: "other"})
	server := strings.Repeat("s", 200)
	for i := range 300 {
		add(t, b, Entry{ID: id(1), Alias: "one", Contact: Contact{Servers: []string{fmt.Sprintf("%s%d", server, i)}}})
	}
	info, err := os.Stat(path)
	if err != nil || info.Size() > minRewrite+maxLine {
		t.Errorf("the book has grown to %d bytes (%v)", info.Size(), err)
	}
	got, err := reader.Find("one")
	if err != nil || got.Contact.Servers[0] != server+"299" {
		t.Errorf("Find = %+v, %v", got, err)
	}
	if _, err := reader.Find("other"); err != nil {
		t.Error(err)
	}
}

// Whatever is added in whatever order, over reopenings: IDs keep their aliases,
// aliases stay unique, and the file says what the book says.
func TestBookModel(t *testing.T) {
	parent := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		dir, err := os.MkdirTemp(parent, "book")
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, "peers")
		b, err := OpenBook(path)
		if err != nil {
			t.Fatal(err)
		}
		model := map[session.PeerID]string{} // ID → alias
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			e := Entry{
				ID:    id(byte(rapid.IntRange(1, 5).Draw(t, "id"))),
				Name:  rapid.SampledFrom([]string{"", "a", "b", "A b"}).Draw(t, "name"),
				Alias: rapid.SampledFrom([]string{"", "", "a", "b", "B"}).Draw(t, "alias"),
			}
			if rapid.IntRange(0, 3).Draw(t, "remove") == 0 {
				if err := b.Remove(e.ID); err != nil {
					t.Fatal(err)
				}
				delete(model, e.ID)
				continue
			}
			got, err := b.Add(e)
			taken := slices.ContainsFunc(slices.Collect(maps.Keys(model)), func(other session.PeerID) bool {
				return other != e.ID && e.Alias != "" && strings.EqualFold(model[other], e.Alias)
			})
			if taken != (err != nil) || err != nil && session.KindOf(err) != session.Integrity {
				t.Fatalf("Add(%+v) = %v; alias taken: %v", e, err, taken)
			}
			if err != nil {
				continue
			}
			if old, known := model[e.ID]; e.Alias != "" && got.Alias != e.Alias || e.Alias == "" && known && got.Alias != old {
				t.Fatalf("Add(%+v): alias %q, was %q", e, got.Alias, old)
			}
			model[e.ID] = got.Alias
			if rapid.Bool().Draw(t, "reopen") {
				if b, err = OpenBook(path); err != nil {
					t.Fatal(err)
				}
			}
		}
		list, err := b.List()
		if err != nil || len(list) != len(model) {
			t.Fatalf("%d entries, want %d (%v)", len(list), len(model), err)
		}
		seen := map[string]bool{}
		for _, e := range list {
			if model[e.ID] != e.Alias || seen[strings.ToLower(e.Alias)] {
				t.Fatalf("entry %+v, want alias %q", e, model[e.ID])
			}
			seen[strings.ToLower(e.Alias)] = true
		}
	})
}

// What one process forgets, another that has the book open doesn't know either.
func TestRemoveElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "home", "peers")
	here, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := byte(1); n <= 2; n++ {
		if _, err := here.Add(Entry{ID: id(n), Name: "alice"}); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere, err := OpenBook(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := here.Remove(id(1)); err != nil {
		t.Fatal(err)
	}
	if _, known, err := elsewhere.Get(id(1)); known || err != nil {
		t.Errorf("known: %v, %v", known, err)
	}
	// The alias is free: somebody else may have it now.
	if e, err := elsewhere.Add(Entry{ID: id(3), Alias: "alice"}); err != nil || e.ID != id(3) {
		t.Errorf("%+v, %v", e, err)
	}
	if err := elsewhere.Remove(id(9)); err != nil {
		t.Errorf("a stranger: %v", err)
	}
	if list, err := here.List(); err != nil || len(list) != 2 {
		t.Errorf("%+v, %v", list, err)
	}
}

func FuzzParseBook(f *testing.F) {
	f.Add([]byte(`{"id":"` + id(1).String() + `","alias":"one","added":"2026-01-02T03:04:05Z"}` + "\n"))
	f.Add([]byte("{}\n"))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		peers, whole, err := parseBook(data)
		if err != nil {
			return
		}
		if whole > int64(len(data)) {
			t.Fatalf("%d whole bytes of %d", whole, len(data))
		}
		seen := map[string]bool{}
		for id, e := range peers {
			if id != e.ID || !validAlias(e.Alias) || seen[strings.ToLower(e.Alias)] {
				t.Fatalf("accepted %+v", e)
			}
			seen[strings.ToLower(e.Alias)] = true
		}
	})
}
