//go:build unix

package folder_test

import (
	"os"
	"syscall"
	"testing"
)

// usedBytes is how much of the disk a file takes.
func usedBytes(t testing.TB, path string) (int64, bool) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Blocks * 512, true
}
