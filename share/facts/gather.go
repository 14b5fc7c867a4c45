package facts

import (
	"cmp"
	"context"
	"errors"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/host"
	"github.com/shirou/gopsutil/v4/load"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
	"github.com/shirou/gopsutil/v4/process"
)

// sample is how long processor use is watched.
const sample = 200 * time.Millisecond

// gather finds out what it can; what it can't is in Unknown.
func gather(ctx context.Context) (Facts, error) {
	f := Facts{Time: time.Now().UTC()}
	note := func(name string, err error) {
		if err != nil && !slices.Contains(f.Unknown, name) {
			f.Unknown = append(f.Unknown, name)
		}
	}
	before, err := usedBefore(ctx)
	note("processes", err)
	begun := time.Now()

	note("os", gatherSystem(ctx, &f))
	note("load", gatherLoad(ctx, &f))
	note("memory", gatherMemory(ctx, &f))
	note("disks", gatherDisks(ctx, &f))
	note("addresses", gatherAddresses(ctx, &f))
	note("users", gatherUsers(ctx, &f))
	if runtime.GOOS == "linux" {
		f.Reboot = pendingReboot(os.DirFS("/"), f.OS.Kernel)
	} else {
		note("reboot", errors.ErrUnsupported)
	}

	timer := time.NewTimer(time.Until(begun.Add(sample)))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return f, ctx.Err()
	}
	note("cpu", before.gatherCPU(ctx, &f, time.Since(begun)))
	note("processes", before.gatherProcesses(ctx, &f, time.Since(begun)))
	f.tidy()
	return f, ctx.Err()
}

func gatherSystem(ctx context.Context, f *Facts) error {
	info, err := host.InfoWithContext(ctx)
	if err != nil {
		f.OS.Name, f.OS.Arch = runtime.GOOS, runtime.GOARCH
		return err
	}
	f.Hostname, f.Uptime = info.Hostname, info.Uptime
	f.OS = OS{
		Name: info.OS, Platform: info.Platform, Version: info.PlatformVersion,
		Kernel: info.KernelVersion, Arch: info.KernelArch,
	}
	return nil
}

func gatherLoad(ctx context.Context, f *Facts) error {
	average, err := load.AvgWithContext(ctx)
	if err == nil {
		f.Load = [3]float64{average.Load1, average.Load5, average.Load15}
	}
	return err
}

func gatherMemory(ctx context.Context, f *Facts) error {
	memory, err := mem.VirtualMemoryWithContext(ctx)
	if err != nil {
		return err
	}
	f.Memory.Total, f.Memory.Available = memory.Total, memory.Available
	swap, err := mem.SwapMemoryWithContext(ctx)
	if err == nil {
		f.Memory.SwapTotal, f.Memory.SwapUsed = swap.Total, swap.Used
	}
	return err
}

// gatherDisks lists what is on local disks, and the root whatever it is on. File
// systems elsewhere may not answer for minutes.
func gatherDisks(ctx context.Context, f *Facts) error {
	mounts, err := disk.PartitionsWithContext(ctx, false)
	if err != nil {
		mounts = nil
	}
	isRoot := func(p disk.PartitionStat) bool { return p.Mountpoint == "/" }
	if runtime.GOOS != "windows" && !slices.ContainsFunc(mounts, isRoot) {
		mounts = append(mounts, disk.PartitionStat{Mountpoint: "/"})
	}
	slices.SortFunc(mounts, func(a, b disk.PartitionStat) int { return cmp.Compare(a.Mountpoint, b.Mountpoint) })
	seen := make(map[string]bool)
	for _, m := range mounts {
		// A device that is mounted twice has its space once; images of fixed
		// size are always full.
		if m.Device != "" && seen[m.Device] || m.Fstype == "squashfs" || m.Fstype == "iso9660" || len(f.Disks) == maxList {
			continue
		}
		seen[m.Device] = true
		usage, failed := disk.UsageWithContext(ctx, m.Mountpoint)
		if failed != nil || usage.Total == 0 {
			continue
		}
		f.Disks = append(f.Disks, Disk{Mount: m.Mountpoint, Type: cmp.Or(m.Fstype, usage.Fstype), Total: usage.Total, Free: usage.Free})
	}
	return err
}

func gatherAddresses(ctx context.Context, f *Facts) error {
	interfaces, err := net.InterfacesWithContext(ctx)
	for _, i := range interfaces {
		for _, a := range i.Addrs {
			prefix, failed := netip.ParsePrefix(a.Addr)
			if failed != nil || prefix.Addr().IsLoopback() || prefix.Addr().IsLinkLocalUnicast() {
				continue
			}
			f.Addresses = append(f.Addresses, Address{Interface: i.Name, Address: a.Addr})
		}
	}
	return err
}

func gatherUsers(ctx context.Context, f *Facts) error {
	users, err := host.UsersWithContext(ctx)
	if errors.Is(err, os.ErrNotExist) {
		return nil // nobody has ever logged in, or nobody keeps count
	}
	for _, u := range users {
		f.Users = append(f.Users, User{Name: u.User, Terminal: u.Terminal, From: u.Host, Since: time.Unix(int64(u.Started), 0).UTC()})
	}
	return err
}

// used is how much processor time had been used when the watch began.
type used struct {
	busy      float64 // seconds, of all processors
	processes map[int32]processUse
}

type processUse struct {
	process *process.Process
	seconds float64
}

func usedBefore(ctx context.Context) (used, error) {
	u := used{processes: make(map[int32]processUse)}
	u.busy, _ = busySeconds(ctx) // gatherCPU reports it
	all, err := process.ProcessesWithContext(ctx)
	for _, p := range all {
		if t, failed := p.TimesWithContext(ctx); failed == nil {
			u.processes[p.Pid] = processUse{p, t.User + t.System}
		}
	}
	return u, err
}

func busySeconds(ctx context.Context) (float64, error) {
	times, err := cpu.TimesWithContext(ctx, false)
	if err != nil || len(times) == 0 {
		return 0, cmp.Or(err, errors.ErrUnsupported)
	}
	t := times[0]
	return t.User + t.System + t.Nice + t.Irq + t.Softirq + t.Steal, nil
}

func (u used) gatherCPU(ctx context.Context, f *Facts, over time.Duration) error {
	cores, err := cpu.CountsWithContext(ctx, true)
	if err != nil {
		return err
	}
	f.CPU.Cores = cores
	now, err := busySeconds(ctx)
	f.CPU.Busy = round(min(max(0, (now-u.busy)/over.Seconds()), float64(cores)))
	return err
}

func (u used) gatherProcesses(ctx context.Context, f *Facts, over time.Duration) error {
	f.Processes.Count = len(u.processes)
	type busy struct {
		Process
		handle *process.Process
	}
	var all []busy
	for pid, before := range u.processes {
		times, err := before.process.TimesWithContext(ctx)
		if err != nil {
			continue // it has ended
		}
		b := busy{Process{PID: int64(pid), CPU: round(max(0, (times.User+times.System-before.seconds)/over.Seconds()))}, before.process}
		if memory, err := before.process.MemoryInfoWithContext(ctx); err == nil {
			b.Memory = memory.RSS
		}
		all = append(all, b)
	}
	slices.SortFunc(all, func(a, b busy) int {
		return cmp.Or(cmp.Compare(b.CPU, a.CPU), cmp.Compare(b.Memory, a.Memory), cmp.Compare(a.PID, b.PID))
	})
	for _, b := range all[:min(len(all), maxProcesses)] {
		b.Name, _ = b.handle.NameWithContext(ctx)     // it may have ended
		b.User, _ = b.handle.UsernameWithContext(ctx) // or its user may have no name
		f.Processes.Top = append(f.Processes.Top, b.Process)
	}
	return nil
}

// round keeps two digits: a fifth of a second tells no more.
func round(x float64) float64 { return float64(int(x*100+0.5)) / 100 }

// firstLines are the first lines of a file that are not empty.
func firstLines(content []byte) []string {
	var lines []string
	for line := range strings.Lines(string(content)) {
		if line = strings.TrimSpace(line); line != "" && len(lines) < maxReasons-1 {
			lines = append(lines, line)
		}
	}
	return lines
}
