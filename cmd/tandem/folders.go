package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/pflag"

	"tandem/session"
	"tandem/share/folder"
	"tandem/share/node"
)

// maxFolders is how many folders one share has at most.
const maxFolders = 100

// folderFlags say how folders are shared.
type folderFlags struct {
	names       []string
	write       bool
	executables bool
	rules       []folder.Rule
	dotfiles    string
	links       bool
	askWrites   bool
}

func (f *folderFlags) addTo(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.names, "name", nil, "what guests call the folder; repeated, the first for the first folder and so on")
	fs.BoolVar(&f.write, "write", false, "guests may change the folders")
	fs.BoolVar(&f.executables, "executables", false, "guests may put executable files into the folders")
	fs.BoolVar(&f.askWrites, "ask-writes", false, "show what a guest would copy into the folders, and ask before anything of it is written")
	fs.Var(&ruleFlag{&f.rules, folder.Hidden}, "hide", "guests don't see what matches this pattern, as in a .gitignore; may be repeated, as the next two")
	fs.Var(&ruleFlag{&f.rules, folder.Readable}, "read-only", "guests may only read what matches this pattern")
	fs.Var(&ruleFlag{&f.rules, folder.Writable}, "writable", "guests may change what matches this pattern, also without --write")
	fs.BoolVar(&f.links, "follow-links", false, "guests may read files through symbolic links, if these stay in the folder; else they don't see links")
	fs.StringVar(&f.dotfiles, "dotfiles", "show", "files whose names begin with a dot: show them like others, let guests only read them, or hide them: show, read or hide")
}

// ruleFlag adds rules of one access, in the order in which they are given.
type ruleFlag struct {
	rules  *[]folder.Rule
	access folder.Access
}

func (r *ruleFlag) Set(pattern string) error {
	*r.rules = append(*r.rules, folder.Rule{Pattern: pattern, Access: r.access})
	return nil
}

func (r *ruleFlag) String() string { return "" }
func (r *ruleFlag) Type() string   { return "pattern" }

// given are the rules, with those that others say by the way.
func (f *folderFlags) given() (rules []folder.Rule, write bool, err error) {
	write = f.write
	for _, r := range f.rules {
		if r.Access == folder.Writable && !f.write {
			write = true
		}
	}
	if write && !f.write {
		rules = append(rules, folder.Rule{Pattern: "/*", Access: folder.Readable})
	}
	switch f.dotfiles {
	case "show":
	case "read":
		rules = append(rules, folder.Rule{Pattern: ".*", Access: folder.Readable})
	case "hide":
		rules = append(rules, folder.Rule{Pattern: ".*", Access: folder.Hidden})
	default:
		return nil, false, usagef("--dotfiles takes show, read or hide, not %q", f.dotfiles)
	}
	return append(rules, f.rules...), write, nil
}

// describeRules says what guests don't get of a folder that they get.
func describeRules(rules []folder.Rule) []string {
	may := map[folder.Access]string{folder.Hidden: "hidden", folder.Readable: "only read", folder.Writable: "read and change"}
	var lines []string
	for _, r := range rules {
		lines = append(lines, session.Printable(fmt.Sprintf("%s (%s)", r.Pattern, may[r.Access])))
	}
	return lines
}

// folders are dirs as the flags say.
func (f *folderFlags) folders(dirs []string) ([]node.Folder, error) {
	rules, write, err := f.given()
	switch {
	case err != nil:
		return nil, err
	case len(dirs) == 0 && f.write:
		return nil, usagef("--write needs a folder")
	case len(dirs) == 0 && len(rules) > 0:
		return nil, usagef("--hide, --read-only, --writable and --dotfiles need a folder")
	case (f.executables || f.askWrites) && !write:
		return nil, usagef("--executables and --ask-writes need --write")
	case len(f.names) > len(dirs):
		return nil, usagef("--name needs a folder: there are %d for %s", len(f.names), counted(len(dirs), "folder"))
	}
	folders := make([]node.Folder, len(dirs))
	given := make(map[string]bool)
	for i, dir := range dirs {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return nil, &session.Error{Op: "share", Kind: session.Invalid, Err: err}
		}
		if given[abs] {
			return nil, usagef("%s is given twice", dir)
		}
		given[abs] = true
		folders[i] = node.Folder{Dir: dir, Write: write, Executables: f.executables, Rules: rules, Links: f.links}
		if i < len(f.names) {
			if f.names[i] == "" {
				return nil, usagef("--name is empty")
			}
			folders[i].Name = f.names[i]
		}
	}
	return folders, nil
}
