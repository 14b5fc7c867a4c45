package main

import (
	"path/filepath"

	"github.com/spf13/pflag"

	"tandem/session"
	"tandem/share/node"
)

// maxFolders is how many folders one share has at most.
const maxFolders = 100

// folderFlags say how folders are shared.
type folderFlags struct {
	names       []string
	write       bool
	executables bool
}

func (f *folderFlags) addTo(fs *pflag.FlagSet) {
	fs.StringArrayVar(&f.names, "name", nil, "what guests call the folder; repeated, the first for the first folder and so on")
	fs.BoolVar(&f.write, "write", false, "guests may change the folders")
	fs.BoolVar(&f.executables, "executables", false, "guests may put executable files into the folders")
}

// folders are dirs as the flags say.
func (f *folderFlags) folders(dirs []string) ([]node.Folder, error) {
	switch {
	case len(dirs) == 0 && f.write:
		return nil, usagef("--write needs a folder")
	case f.executables && !f.write:
		return nil, usagef("--executables needs --write")
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
		folders[i] = node.Folder{Dir: dir, Write: f.write, Executables: f.executables}
		if i < len(f.names) {
			if f.names[i] == "" {
				return nil, usagef("--name is empty")
			}
			folders[i].Name = f.names[i]
		}
	}
	return folders, nil
}
