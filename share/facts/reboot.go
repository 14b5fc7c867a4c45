package facts

import (
	"io"
	"io/fs"
	"slices"
	"strings"
)

// maxMarker is how much of a marker file is read.
const maxMarker = 16 << 10

// pendingReboot looks for Debian's marker of packages that want a reboot, and
// for an installed kernel of the running one's flavour that is newer.
func pendingReboot(root fs.FS, running string) Reboot {
	var r Reboot
	if _, err := fs.Stat(root, "run/reboot-required"); err == nil {
		r.Pending = true
		packages := firstLines(readSome(root, "run/reboot-required.pkgs"))
		slices.Sort(packages)
		packages = slices.Compact(packages)
		why := "an update asks for it"
		if len(packages) > 0 {
			why = "updated: " + strings.Join(packages, ", ")
		}
		r.Why = append(r.Why, why)
	}
	if newest := newestKernel(root, running); newest != "" {
		r.Pending = true
		r.Why = append(r.Why, "kernel "+newest+" is installed, "+running+" runs")
	}
	return r
}

// newestKernel is the newest installed kernel that is newer than the running one
// and would take its place, or "". If the running one is not among those in
// /boot, this system does not choose what boots, as in a container.
func newestKernel(root fs.FS, running string) string {
	entries, err := fs.ReadDir(root, "boot")
	if err != nil || running == "" {
		return ""
	}
	found, newest := false, running
	for _, e := range entries {
		release, ok := strings.CutPrefix(e.Name(), "vmlinuz-")
		if !ok {
			continue
		}
		found = found || release == running
		if flavour(release) == flavour(running) && compareVersions(release, newest) > 0 {
			newest = release
		}
	}
	if !found || newest == running {
		return ""
	}
	return newest
}

// flavour is what of a release is not its version: "amd64" of 6.12.41+deb13-amd64,
// "generic" of 6.8.0-31-generic.
func flavour(release string) string {
	i := strings.LastIndexAny(release, "-.")
	if i < 0 || release[i+1:] == "" || isDigit(release[i+1]) {
		return ""
	}
	return release[i+1:]
}

// compareVersions compares runs of digits as numbers and the rest as text.
func compareVersions(a, b string) int {
	for a != "" && b != "" {
		if isDigit(a[0]) && isDigit(b[0]) {
			var x, y string
			x, a = cutNumber(a)
			y, b = cutNumber(b)
			if len(x) != len(y) {
				return len(x) - len(y)
			}
			if c := strings.Compare(x, y); c != 0 {
				return c
			}
			continue
		}
		if a[0] != b[0] {
			return int(a[0]) - int(b[0])
		}
		a, b = a[1:], b[1:]
	}
	return len(a) - len(b)
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// cutNumber takes the digits off the front, leading zeros dropped.
func cutNumber(s string) (number, rest string) {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}

func readSome(root fs.FS, name string) []byte {
	f, err := root.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	content, _ := io.ReadAll(io.LimitReader(f, maxMarker)) // what there is will do
	return content
}
