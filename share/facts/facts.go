package facts

import (
	"slices"
	"time"

	"tandem/session"
)

// Limits of the protocol.
const (
	// MaxReply is the longest reply, in bytes.
	MaxReply = 256 << 10

	maxText      = 256
	maxList      = 64
	maxProcesses = 20
	maxReasons   = 16
)

// Facts are what a host tells; the package comment has the units.
type Facts struct {
	Time      time.Time  `json:"time"`
	Hostname  string     `json:"hostname"`
	OS        OS         `json:"os"`
	Uptime    uint64     `json:"uptime"`
	Load      [3]float64 `json:"load"`
	CPU       CPU        `json:"cpu"`
	Memory    Memory     `json:"memory"`
	Disks     []Disk     `json:"disks"`
	Addresses []Address  `json:"addresses"`
	Users     []User     `json:"users"`
	Processes Processes  `json:"processes"`
	Reboot    Reboot     `json:"reboot"`
	Unknown   []string   `json:"unknown,omitempty"`
}

// OS is the system a machine runs.
type OS struct {
	Name     string `json:"name"`
	Platform string `json:"platform,omitempty"`
	Version  string `json:"version,omitempty"`
	Kernel   string `json:"kernel,omitempty"`
	Arch     string `json:"arch,omitempty"`
}

// CPU is how many cores there are and how many were busy.
type CPU struct {
	Cores int     `json:"cores"`
	Busy  float64 `json:"busy"`
}

// Memory is in bytes.
type Memory struct {
	Total     uint64 `json:"total"`
	Available uint64 `json:"available"`
	SwapTotal uint64 `json:"swap_total"`
	SwapUsed  uint64 `json:"swap_used"`
}

// Disk is a mounted file system; sizes are in bytes.
type Disk struct {
	Mount string `json:"mount"`
	Type  string `json:"type,omitempty"`
	Total uint64 `json:"total"`
	Free  uint64 `json:"free"`
}

// Address is one of an interface, with its prefix length.
type Address struct {
	Interface string `json:"interface"`
	Address   string `json:"address"`
}

// User is one login.
type User struct {
	Name     string    `json:"name"`
	Terminal string    `json:"terminal,omitempty"`
	From     string    `json:"from,omitempty"`
	Since    time.Time `json:"since,omitzero"`
}

// Processes are how many there are, and the busiest.
type Processes struct {
	Count int       `json:"count"`
	Top   []Process `json:"top"`
}

// Process is one of the busiest.
type Process struct {
	PID    int64   `json:"pid"`
	Name   string  `json:"name"`
	User   string  `json:"user,omitempty"`
	CPU    float64 `json:"cpu"`
	Memory uint64  `json:"memory"`
}

// Reboot says whether the machine waits for one.
type Reboot struct {
	Pending bool     `json:"pending"`
	Why     []string `json:"why,omitempty"`
}

// tidy brings facts within the protocol's limits and makes every text fit to
// show. Both sides use it: a host may hold hostile names, and may be hostile.
func (f *Facts) tidy() {
	for _, s := range []*string{
		&f.Hostname, &f.OS.Name, &f.OS.Platform, &f.OS.Version, &f.OS.Kernel, &f.OS.Arch,
	} {
		*s = text(*s)
	}
	f.Disks = cut(f.Disks, maxList)
	for i := range f.Disks {
		d := &f.Disks[i]
		d.Mount, d.Type = text(d.Mount), text(d.Type)
	}
	f.Addresses = cut(f.Addresses, maxList)
	for i := range f.Addresses {
		a := &f.Addresses[i]
		a.Interface, a.Address = text(a.Interface), text(a.Address)
	}
	f.Users = cut(f.Users, maxList)
	for i := range f.Users {
		u := &f.Users[i]
		u.Name, u.Terminal, u.From = text(u.Name), text(u.Terminal), text(u.From)
	}
	f.Processes.Top = cut(f.Processes.Top, maxProcesses)
	for i := range f.Processes.Top {
		p := &f.Processes.Top[i]
		p.Name, p.User = text(p.Name), text(p.User)
	}
	for _, list := range []*[]string{&f.Reboot.Why, &f.Unknown} {
		*list = cut(*list, maxReasons)
		for i := range *list {
			(*list)[i] = text((*list)[i])
		}
	}
}

// cut drops what is more than n, and never leaves nil: in JSON a list is a list.
func cut[T any](list []T, n int) []T {
	if list == nil {
		return []T{}
	}
	return slices.Clip(list[:min(len(list), n)])
}

// text is s made fit to show, of at most maxText bytes.
func text(s string) string {
	if len(s) > maxText {
		s = s[:maxText]
	}
	s = session.Printable(s)
	for len(s) > maxText { // what was replaced has become longer
		s = string([]rune(s)[:len([]rune(s))-1])
	}
	return s
}
