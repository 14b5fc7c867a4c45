//go:build unix && !linux

package folder_test

import "errors"

func mountSmall(string) error { return errors.ErrUnsupported }

func unmount(string) error { return nil }

func makeReadOnly(string) error { return errors.ErrUnsupported }
