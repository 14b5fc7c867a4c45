package forward

import (
	"net/netip"
	"strings"
	"testing"

	"tandem/session"
)

func TestTargets(t *testing.T) {
	for text, want := range map[string]string{
		"80": "localhost:80", "*": "localhost:*", "8000-8010": "localhost:8000-8010",
		"localhost:80": "localhost:80", "LocalHost.:80": "localhost:80", "db.internal:5432": "db.internal:5432",
		"any": "any", "any:*": "any", "*:*": "any", "*:443": "any:443", "any:443": "any:443", "any:1-1024": "any:1-1024",
		"10.0.0.1:80": "10.0.0.1:80", "10.1.2.3/8:*": "10.0.0.0/8:*", "10.0.0.1/32:80": "10.0.0.1:80",
		"[::1]:80": "[::1]:80", "[fd00::1/8]:443": "[fd00::/8]:443", "[::ffff:10.0.0.1]:80": "10.0.0.1:80",
		"[::ffff:10.0.0.0/104]:80": "10.0.0.0/8:80", "unix:/run/x.sock": "unix:/run/x.sock", "unix:/a:b": "unix:/a:b",
		"0.0.0.0:9000": "0.0.0.0:9000", "[::]:9000": "[::]:9000", "[fe80::1%eth0]:22": "[fe80::1]:22",
	} {
		target, err := ParseTarget(text)
		if err != nil || target.String() != want {
			t.Errorf("ParseTarget(%q) = %q, %v; want %q", text, target, err, want)
		}
		if again, err := ParseTarget(want); err != nil || again != target {
			t.Errorf("ParseTarget(%q) = %+v, %v; want %+v", want, again, err, target)
		}
	}
	for _, text := range []string{
		"", ":", ":80", "localhost", "localhost:", "localhost:http", "localhost:0", "localhost:65536", "localhost:80-79", "localhost:0-80",
		"localhost:1-2-3", "::1:80", "[::1]", "[::1", "[::1]80", "10.0.0.0/33:80", "10.0.0.0/-1:80", "db internal:80", "-x:80", "x-:80",
		"http://x:80", "unix:", "unix:x", "unix:/a/../b", "unix:/a/", "ANY", "any:any", "a\x1b:80", "[10.0.0.1:80",
	} {
		if target, err := ParseTarget(text); session.KindOf(err) != session.Invalid {
			t.Errorf("ParseTarget(%q) = %+v, %v", text, target, err)
		}
	}
}

func TestAdmits(t *testing.T) {
	cases := []struct {
		target string
		yes    string // name=address:port, or address:port
		no     string
	}{
		{
			"localhost:80",
			"127.0.0.1:80 [::1]:80 localhost=127.0.0.1:80 elsewhere=127.0.0.1:80",
			"127.0.0.1:81 127.0.0.2:80 0.0.0.0:80 [::]:80 10.0.0.1:80 localhost=10.0.0.1:80 [::127.0.0.1]:80",
		},
		{"localhost:*", "127.0.0.1:1 127.0.0.1:65535 [::1]:0", "10.0.0.1:80"},
		{
			"any",
			"10.0.0.1:22 192.168.1.1:80 1.1.1.1:443 [2606::1]:443 [fd00::1]:1 100.64.0.1:1 x=10.0.0.1:22",
			"127.0.0.1:80 127.9.9.9:80 [::1]:80 169.254.169.254:80 169.254.1.1:80 [fe80::1]:80 [fe80::1%eth0]:80 0.0.0.0:80 0.1.2.3:80 [::]:80 " +
				"100.100.100.200:80 168.63.129.16:80 192.0.0.192:80 [fd00:ec2::254]:80 [64:ff9b::a9fe:a9fe]:80 [64:ff9b:1::7f00:1]:80 [2002:7f00:1::]:80 " +
				"[2001:0:1::]:80 [::7f00:1]:80 [::ffff:0:127.0.0.1]:80 224.0.0.1:80 255.255.255.255:80 [ff02::1]:80 [fec0::1]:80 x=127.0.0.1:80 x=169.254.169.254:80",
		},
		{"any:443", "10.0.0.1:443", "10.0.0.1:444 127.0.0.1:443"},
		{"0.0.0.0/0:*", "10.0.0.1:22", "127.0.0.1:80 169.254.169.254:80 0.0.0.0:80 [2606::1]:443"},
		{"[::/0]:*", "[2606::1]:443", "[::1]:80 [fe80::1]:80 [64:ff9b::a9fe:a9fe]:80 10.0.0.1:80"},
		{"127.0.0.0/8:*", "127.0.0.1:80 127.9.9.9:80", "10.0.0.1:80 [::1]:80"},
		{"126.0.0.0/7:*", "126.1.1.1:80", "127.0.0.1:80"},
		{"169.254.0.0/16:80", "169.254.1.1:80", "169.254.169.254:80 169.254.170.2:80 169.254.1.1:81"},
		{"169.254.169.254:80", "169.254.169.254:80", "169.254.169.253:80"},
		{"[fe80::/10]:22", "[fe80::1]:22 [fe80::1%eth0]:22", "[fec0::1]:22"},
		{"[fd00::/8]:443", "[fd00::1]:443", "[fd00:ec2::254]:443 [fd20:ce::254]:443"},
		{"0.0.0.0:9000", "0.0.0.0:9000", "127.0.0.1:9000 10.0.0.1:9000"},
		{"10.0.0.0/8:1-1024", "10.255.0.1:1 10.0.0.1:1024 x=10.0.0.1:80", "10.0.0.1:1025 11.0.0.1:80 10.0.0.1:0"},
		{"db.internal:5432", "db.internal=10.0.0.7:5432 db.internal=1.1.1.1:5432", "10.0.0.7:5432 db=10.0.0.7:5432 db.internal=127.0.0.1:5432 db.internal=169.254.169.254:5432 db.internal=[fe80::1]:5432 db.internal=10.0.0.7:80"},
		{"unix:/run/x.sock", "", "127.0.0.1:80 10.0.0.1:0"},
	}
	for _, c := range cases {
		target, err := ParseTarget(c.target)
		if err != nil {
			t.Fatal(err)
		}
		for want, list := range map[bool]string{true: c.yes, false: c.no} {
			for _, text := range strings.Fields(list) {
				name, at, named := strings.Cut(text, "=")
				if !named {
					name, at = "", text
				}
				ap := netip.MustParseAddrPort(at)
				if got := target.admits(name, ap.Addr().Unmap(), ap.Port()); got != want {
					t.Errorf("%s admits %s: %v", c.target, text, got)
				}
			}
		}
	}
	if (Target{}).admits("", loopback[0], 0) || (Target{}).admits("", netip.MustParseAddr("10.0.0.1"), 0) {
		t.Error("the zero target admits something")
	}
}

func FuzzTarget(f *testing.F) {
	for _, seed := range []string{"localhost:80", "any", "10.0.0.0/8:1-9", "[fd00::/8]:*", "unix:/x", "*:443", "db.internal:5432", "[::ffff:1.2.3.4/100]:5", "0..:1", "10.0.0.1.:1"} {
		f.Add(seed, []byte{127, 0, 0, 1}, uint16(80))
	}
	f.Fuzz(func(t *testing.T, text string, raw []byte, port uint16) {
		target, err := ParseTarget(text)
		if err != nil {
			if session.KindOf(err) != session.Invalid {
				t.Fatalf("kind of %v", err)
			}
			return
		}
		again, err := ParseTarget(target.String())
		if err != nil || again != target {
			t.Fatalf("%q is %q, and that %+v, %v", text, target, again, err)
		}
		addr, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		addr = addr.Unmap()
		if target.admits("elsewhere.example", addr, port) && !target.worthResolving("elsewhere.example", port) {
			t.Fatalf("%q admits %v but would not be looked at", text, addr)
		}
		if target.any && (addr.IsLoopback() || addr.IsLinkLocalUnicast() || addr.IsUnspecified()) && target.admits("", addr, port) {
			t.Fatalf("%q admits %v", text, addr)
		}
	})
}

func TestParseForward(t *testing.T) {
	tcp, unix := TCPAddress, UnixAddress
	for _, c := range []struct {
		kind   Kind
		text   string
		listen Address
		target Address
	}{
		{Local, "8080:localhost:80", tcp("localhost", 8080), tcp("localhost", 80)},
		{Local, "0:localhost:80", tcp("localhost", 0), tcp("localhost", 80)},
		{Local, "127.0.0.1:8080:db:5432", tcp("127.0.0.1", 8080), tcp("db", 5432)},
		{Local, ":8080:db:5432", tcp("*", 8080), tcp("db", 5432)},
		{Local, "*:8080:db:5432", tcp("*", 8080), tcp("db", 5432)},
		{Local, "[::1]:8080:[fd00::1]:443", tcp("::1", 8080), tcp("fd00::1", 443)},
		{Local, "8080:[fd00::1]:443", tcp("localhost", 8080), tcp("fd00::1", 443)},
		{Local, "8080:/run/x.sock", tcp("localhost", 8080), unix("/run/x.sock")},
		{Local, "127.0.0.1:8080:/run/x.sock", tcp("127.0.0.1", 8080), unix("/run/x.sock")},
		{Local, "/tmp/l.sock:/run/x.sock", unix("/tmp/l.sock"), unix("/run/x.sock")},
		{Local, "/tmp/l.sock:localhost:80", unix("/tmp/l.sock"), tcp("localhost", 80)},
		{Remote, "9000:localhost:3000", tcp("localhost", 9000), tcp("localhost", 3000)},
		{Remote, "0.0.0.0:9000:localhost:3000", tcp("0.0.0.0", 9000), tcp("localhost", 3000)},
		{Remote, "/run/r.sock:/tmp/x.sock", unix("/run/r.sock"), unix("/tmp/x.sock")},
		{Dynamic, "1080", tcp("localhost", 1080), Address{}},
		{Dynamic, "127.0.0.1:1080", tcp("127.0.0.1", 1080), Address{}},
		{Dynamic, "*:1080", tcp("*", 1080), Address{}},
		{Dynamic, "/tmp/s.sock", unix("/tmp/s.sock"), Address{}},
	} {
		f, err := Parse(c.kind, c.text)
		if want := (Forward{c.kind, c.listen, c.target}); err != nil || f != want {
			t.Errorf("Parse(%s, %q) = %+v, %v", c.kind, c.text, f, err)
		}
		if again, err := Parse(c.kind, f.String()); err != nil || again != f {
			t.Errorf("Parse(%s, %q) = %+v, %v; want %+v", c.kind, f.String(), again, err, f)
		}
	}
	for kind, texts := range map[Kind][]string{
		Local: {
			"", ":", "8080", "8080:80", "8080:localhost", "8080:localhost:http", "8080:localhost:0", "8080::80", "x:localhost:80", "65536:localhost:80",
			"1:2:3:4:5", "::1:8080:x:80", "[::1:8080:x:80", "[::1]x:8080:x:80", "8080:x y:80", "example.com:8080:x:80", "8080:run/x.sock", "8080:localhost:-1",
		},
		Remote:  {"", "9000", "9000:localhost", "run/r.sock:localhost:80", "example.com:9000:localhost:80"},
		Dynamic: {"", "localhost", "1080:localhost:80", "1080:x", "x:1080", "127.0.0.1:1080:x"},
	} {
		for _, text := range texts {
			f, err := Parse(kind, text)
			if session.KindOf(err) != session.Invalid || session.Hint(err) == "" {
				t.Errorf("Parse(%s, %q) = %+v, %v", kind, text, f, err)
			}
		}
	}
	if f, err := Parse(Local, "./l.sock:localhost:80"); err != nil || !strings.HasPrefix(f.Listen.Address, "/") {
		t.Errorf("a relative path of this device: %+v, %v", f, err)
	}
}

func FuzzParseForward(f *testing.F) {
	for _, seed := range []string{"8080:localhost:80", "[::1]:8080:[fd00::1]:443", "/a:/b", "*:1:x:2", ":1:/b", "1080"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{Local, Remote, Dynamic} {
			fw, err := Parse(kind, text)
			if err != nil {
				continue
			}
			if fw.Listen.check(true) != nil || kind != Dynamic && fw.Target.check(false) != nil {
				t.Fatalf("Parse(%s, %q) = %+v", kind, text, fw)
			}
			if strings.Contains(fw.Listen.Address+fw.Target.Address, ":") && fw.Listen.Network == Unix {
				continue // a folder's name may have a colon, which can't be written
			}
			if again, err := Parse(kind, fw.String()); err != nil || again != fw {
				t.Fatalf("Parse(%s, %q) = %+v, and %q gives %+v, %v", kind, text, fw, fw.String(), again, err)
			}
		}
	})
}
