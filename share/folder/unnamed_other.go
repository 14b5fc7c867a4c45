//go:build !linux

package folder

import (
	"errors"
	"os"
)

// Only Linux can give a name to a file that has none.

func unnamed(*os.File) (*os.File, error) { return nil, errors.ErrUnsupported }

func link(*os.File, *os.File, string) error { return errors.ErrUnsupported }

func setTime(*os.File, int64) error { return errors.ErrUnsupported }
