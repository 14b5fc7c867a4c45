package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"tandem/session"
	"tandem/session/sessiontest"
)

// golden is a reply as the package comment has it.
const golden = `{"time":"2026-01-02T03:04:05Z","hostname":"web1","os":{"name":"linux","platform":"debian","version":"13.1","kernel":"6.12.41","arch":"x86_64"},` +
	`"uptime":90061,"load":[0.5,0.25,0.1],"cpu":{"cores":4,"busy":1.25},"memory":{"total":8000,"available":6000,"swap_total":100,"swap_used":1},` +
	`"disks":[{"mount":"/","type":"ext4","total":1000,"free":400}],"addresses":[{"interface":"eth0","address":"192.0.2.7/24"}],` +
	`"users":[{"name":"ann","terminal":"pts/0","from":"198.51.100.1","since":"2026-01-02T02:00:00Z"}],` +
	`"processes":{"count":120,"top":[{"pid":42,"name":"postgres","user":"postgres","cpu":0.5,"memory":123456}]},` +
	`"reboot":{"pending":true,"why":["an update asks for it"]},"unknown":["load"]}`

func example() Facts {
	return Facts{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Hostname: "web1",
		OS:     OS{Name: "linux", Platform: "debian", Version: "13.1", Kernel: "6.12.41", Arch: "x86_64"},
		Uptime: 90061, Load: [3]float64{0.5, 0.25, 0.1}, CPU: CPU{Cores: 4, Busy: 1.25},
		Memory:    Memory{Total: 8000, Available: 6000, SwapTotal: 100, SwapUsed: 1},
		Disks:     []Disk{{Mount: "/", Type: "ext4", Total: 1000, Free: 400}},
		Addresses: []Address{{Interface: "eth0", Address: "192.0.2.7/24"}},
		Users:     []User{{Name: "ann", Terminal: "pts/0", From: "198.51.100.1", Since: time.Date(2026, 1, 2, 2, 0, 0, 0, time.UTC)}},
		Processes: Processes{Count: 120, Top: []Process{{PID: 42, Name: "postgres", User: "postgres", CPU: 0.5, Memory: 123456}}},
		Reboot:    Reboot{Pending: true, Why: []string{"an update asks for it"}}, Unknown: []string{"load"},
	}
}

func TestGolden(t *testing.T) {
	raw, err := json.Marshal(example())
	if err != nil || string(raw) != golden {
		t.Errorf("wrote\n%s, %v; want\n%s", raw, err, golden)
	}
	got, err := decode([]byte(golden))
	if err != nil || !reflect.DeepEqual(got, example()) {
		t.Errorf("read %+v, %v", got, err)
	}
}

// worst is what a hostile host could send, or a host full of hostile names.
func worst() Facts {
	evil := strings.Repeat("\x1b]0;owned\a\u202e\xff", 100)
	f := Facts{Hostname: evil, OS: OS{evil, evil, evil, evil, evil}, Reboot: Reboot{Why: make([]string, 1000)}, Unknown: make([]string, 1000)}
	for i := range f.Reboot.Why {
		f.Reboot.Why[i], f.Unknown[i] = evil, evil
	}
	for range 1000 {
		f.Disks = append(f.Disks, Disk{Mount: evil, Type: evil})
		f.Addresses = append(f.Addresses, Address{evil, evil})
		f.Users = append(f.Users, User{Name: evil, Terminal: evil, From: evil})
		f.Processes.Top = append(f.Processes.Top, Process{Name: evil, User: evil})
	}
	return f
}

func check(t *testing.T, f Facts) {
	t.Helper()
	raw, err := json.Marshal(f)
	if err != nil || len(raw) > MaxReply {
		t.Fatalf("%d bytes, %v", len(raw), err)
	}
	if shown := fmt.Sprint(f); strings.ContainsAny(shown, "\x1b\a\u202e") {
		t.Errorf("shows %q", shown)
	}
	if len(f.Disks) > maxList || len(f.Addresses) > maxList || len(f.Users) > maxList ||
		len(f.Processes.Top) > maxProcesses || len(f.Reboot.Why) > maxReasons || len(f.Unknown) > maxReasons || len(f.Hostname) > maxText {
		t.Error("a list or text is longer than it may be")
	}
}

func TestTidy(t *testing.T) {
	f := worst()
	f.tidy()
	check(t, f)
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(`{"disks":null,"hostname":"\u001b[31m"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		facts, err := decode(raw)
		if err == nil {
			check(t, facts)
		}
	})
}

// TestThisMachine asks a real host about itself.
func TestThisMachine(t *testing.T) {
	_, guest := sessiontest.Pair(t, sessiontest.Serve(New()), nil)
	f, err := Ask(t.Context(), guest)
	if err != nil {
		t.Fatal(err)
	}
	name, _ := os.Hostname()
	if f.Hostname != name || f.OS.Name != runtime.GOOS || f.OS.Kernel == "" || f.Uptime == 0 || f.CPU.Cores == 0 ||
		f.Memory.Total == 0 || f.Memory.Available > f.Memory.Total || len(f.Disks) == 0 || f.Processes.Count == 0 || len(f.Processes.Top) == 0 {
		t.Errorf("%+v", f)
	}
	for i, p := range f.Processes.Top {
		if p.PID <= 0 || i > 0 && p.CPU > f.Processes.Top[i-1].CPU {
			t.Errorf("process %d is %+v", i, p)
		}
	}
}

// TestOneGatheringServesMany: a peer that asks without end keeps the host no
// busier than one that asks every second.
func TestOneGatheringServesMany(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gathered := 0
		s := newService(func(context.Context) (Facts, error) {
			gathered++
			time.Sleep(sample)
			return example(), nil
		})
		_, guest := sessiontest.Pair(t, sessiontest.Serve(s), nil)
		answers := make(chan error)
		for range 50 {
			go func() {
				_, err := Ask(t.Context(), guest)
				answers <- err
			}()
		}
		for range 50 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
		if gathered != 1 {
			t.Errorf("50 questions at once: gathered %d times", gathered)
		}
		time.Sleep(fresh)
		if _, err := Ask(t.Context(), guest); err != nil || gathered != 2 {
			t.Errorf("a second later: gathered %d times, %v", gathered, err)
		}
	})
}

func TestRefusals(t *testing.T) {
	broken := errors.New("secret path")
	_, guest := sessiontest.Pair(t, sessiontest.Serve(newService(func(context.Context) (Facts, error) { return Facts{}, broken })), nil)
	if _, err := Ask(t.Context(), guest); session.KindOf(err) != session.Internal || strings.Contains(err.Error(), "secret") {
		t.Errorf("a failure of the host's: %v", err)
	}
	for _, h := range []session.Header{{Service: ServiceName, Action: "write"}, {Service: ServiceName, Action: Read, Resource: "x"}} {
		st, err := guest.Open(t.Context(), h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := st.Read(make([]byte, 1)); session.KindOf(err) != session.Invalid {
			t.Errorf("%+v: %v", h, err)
		}
		_ = st.Close()
	}
}

// TestHostileHost: an answer without end, noise and silence.
func TestHostileHost(t *testing.T) {
	for name, c := range map[string]struct {
		answer []byte
		want   session.Kind
	}{
		"endless": {[]byte(`{"hostname":"` + strings.Repeat("x", 2*MaxReply)), session.TooLarge},
		"noise":   {[]byte("\xff\x00"), session.Invalid},
		"nothing": {nil, session.Invalid},
	} {
		_, guest := sessiontest.Pair(t, func(_ context.Context, o session.Offer) {
			st, err := o.Accept()
			if err != nil {
				t.Error(err)
				return
			}
			_, _ = st.Write(c.answer)
			_ = st.Close()
		}, nil)
		if _, err := Ask(t.Context(), guest); session.KindOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	_, guest := sessiontest.Pair(t, func(ctx context.Context, o session.Offer) {
		if _, err := o.Accept(); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Ask(ctx, guest); !errors.Is(err, context.Canceled) {
		t.Errorf("silence, given up: %v", err)
	}
}

func TestPendingReboot(t *testing.T) {
	const running = "6.12.9+deb13-amd64"
	kernels := func(releases ...string) fstest.MapFS {
		root := fstest.MapFS{}
		for _, r := range releases {
			root["boot/vmlinuz-"+r] = &fstest.MapFile{}
		}
		return root
	}
	marked := kernels(running)
	marked["run/reboot-required"] = &fstest.MapFile{}
	marked["run/reboot-required.pkgs"] = &fstest.MapFile{Data: []byte("libc6\n\nlinux-base\nlibc6\n")}
	for name, c := range map[string]struct {
		root fstest.MapFS
		want []string
	}{
		"nothing":             {fstest.MapFS{}, nil},
		"only the running":    {kernels(running), nil},
		"older":               {kernels(running, "6.12.8+deb13-amd64", "6.2.99+deb13-amd64"), nil},
		"newer":               {kernels(running, "6.12.10+deb13-amd64"), []string{"kernel 6.12.10+deb13-amd64 is installed, " + running + " runs"}},
		"newest of two":       {kernels("6.12.11+deb13-amd64", running, "6.12.10+deb13-amd64"), []string{"kernel 6.12.11+deb13-amd64 is installed, " + running + " runs"}},
		"of another flavour":  {kernels(running, "6.13.0+deb13-cloud"), nil},
		"not ours to compare": {kernels("6.13.0+deb13-amd64"), nil},
		"marked":              {marked, []string{"updated: libc6, linux-base"}},
	} {
		got := pendingReboot(c.root, running)
		if got.Pending != (c.want != nil) || !reflect.DeepEqual(got.Why, c.want) {
			t.Errorf("%s: %+v, want %q", name, got, c.want)
		}
	}
}

func TestCompareVersions(t *testing.T) {
	ascending := []string{"", "5.9", "5.10", "6.1.0-9-amd64", "6.1.0-10-amd64", "6.1.0-010-amd64z", "6.8.0-31-generic", "6.8.0-100-generic"}
	for i, a := range ascending {
		for j, b := range ascending {
			got := compareVersions(a, b)
			if got < 0 != (i < j) || got > 0 != (i > j) {
				t.Errorf("%q against %q: %d", a, b, got)
			}
		}
	}
}
