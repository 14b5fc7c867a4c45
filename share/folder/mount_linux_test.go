package folder_test

import "syscall"

// mountSmall mounts an empty file system of 1 MiB.
func mountSmall(dir string) error {
	return syscall.Mount("tandem-test", dir, "tmpfs", 0, "size=1m")
}

func unmount(dir string) error { return syscall.Unmount(dir, 0) }

// makeReadOnly makes what mountSmall has mounted read-only.
func makeReadOnly(dir string) error {
	return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "")
}
