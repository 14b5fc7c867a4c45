//go:build !linux

package folder

import "os"

// segment says that all is data: there is no telling; runs of zeros are found
// as they are read.
func segment(_ *os.File, _, size int64) (end int64, hole bool) { return size, false }
