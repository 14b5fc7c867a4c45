package node

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tandem/session"
	"tandem/share/folder"
)

// Folder is a directory to share.
type Folder struct {
	Dir string `json:"dir"`
	// Name is what guests call it. Empty means the last element of Dir, made fit
	// to type; of several with the same, the later ones are called after their
	// parent directory too.
	Name string `json:"name,omitempty"`
	// Write lets guests change it, and Executables put files there that can be
	// executed.
	Write       bool `json:"write,omitempty"`
	Executables bool `json:"executables,omitempty"`
	// Rules restrict what guests see and change.
	Rules []folder.Rule `json:"rules,omitempty"`
	// Links shows symbolic links to files in it as those files.
	Links bool `json:"links,omitempty"`
}

// offerFolder shares a directory and names the right to it. Ask, if not nil,
// decides about what guests would copy into it.
func (s *services) offerFolder(f Folder, ask func(context.Context, folder.Push) error) (Right, error) {
	dir, err := directory(f.Dir)
	if err != nil {
		return Right{}, err
	}
	name, err := s.addFolder(folder.Share{Name: f.Name, Dir: dir, ReadOnly: !f.Write, Executables: f.Executables, Rules: f.Rules, Links: f.Links, Ask: ask})
	if err != nil {
		return Right{}, err
	}
	actions := []string{folder.Read}
	if f.Write {
		actions = append(actions, folder.Write)
	}
	return Right{Service: folder.Name, Resource: name, Actions: actions}, nil
}

// directory is where path leads, if that is a directory.
func directory(path string) (string, error) {
	dir, err := filepath.Abs(path)
	if err != nil {
		return "", &session.Error{Op: "share", Kind: session.Invalid, Err: err}
	}
	info, err := os.Stat(dir)
	switch {
	case err != nil:
		return "", &session.Error{Op: "share", Kind: session.NotFound, Err: err}
	case !info.IsDir():
		return "", session.Errorf("share", session.Invalid, "%s is not a folder", path)
	}
	return dir, nil
}

// addFolder shares a directory under its name or the first that is free.
func (s *services) addFolder(sh folder.Share) (string, error) {
	if sh.Name != "" {
		if fit := typeable(sh.Name); fit != sh.Name {
			return "", session.Errorf("share", session.Invalid, "a share can't be called %q: it has to be short and easy to type", session.Printable(sh.Name))
		}
		return sh.Name, s.folder.Add(sh)
	}
	base := typeable(filepath.Base(sh.Dir))
	for n := 1; ; n++ {
		switch sh.Name = base; n {
		case 1:
		case 2:
			sh.Name = typeable(filepath.Base(filepath.Dir(sh.Dir)) + "-" + base)
		default:
			sh.Name = base + "-" + strconv.Itoa(n-1)
		}
		if err := s.folder.Add(sh); session.KindOf(err) != session.Exists {
			return sh.Name, err
		}
	}
}

// typeable is name as a person can give it in PEER:SHARE/PATH: short, and
// without what means something there or to a shell's word splitting.
func typeable(name string) string {
	name = strings.Map(func(r rune) rune {
		if strings.ContainsRune(" :/\\\t", r) {
			return '-'
		}
		return r
	}, session.PrintableName(name))
	if strings.Trim(name, ".-") == "" {
		return "files"
	}
	return name
}
