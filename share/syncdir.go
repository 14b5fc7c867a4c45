package share

import (
	"os"

	"tandem/session/durable"
)

// SyncDir makes the names in dir, a directory of root, durable, as after a
// rename. Windows has no such call, and neither do some file systems.
func SyncDir(root *os.Root, dir string) error { return durable.SyncDirIn(root, dir) }
