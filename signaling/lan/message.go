package lan

import (
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Sizes and times of the protocol.
const (
	maxMessage = 9000 // bytes, RFC 6762 section 17
	maxRecords = 64   // looked at in one message
	maxURLs    = 16   // found by one Find
	ttl        = 10   // seconds

	service    = "_tandem._tcp.local."
	cacheFlush = 1 << 15 // in a record's class, RFC 6762 section 10.2
	unicast    = 1 << 15 // in a question's class, RFC 6762 section 5.4
	classMask  = 1<<15 - 1
)

// subtype is the name that stands for a nameplate.
func subtype(nameplate string) string { return "_" + nameplate + "._sub." + service }

// question asks for a nameplate.
func question(nameplate string) ([]byte, error) {
	name, err := dnsmessage.NewName(subtype(nameplate))
	if err != nil {
		return nil, err
	}
	m := dnsmessage.Message{Questions: []dnsmessage.Question{
		{Name: name, Type: dnsmessage.TypePTR, Class: dnsmessage.ClassINET},
	}}
	return m.Pack()
}

// asked is what in a question concerns us.
type asked struct {
	id       uint16
	question dnsmessage.Question
}

// parseQuestion finds the first question in data that nameplate's holder answers.
func parseQuestion(data []byte, nameplate string) (asked, bool) {
	var p dnsmessage.Parser
	header, err := p.Start(data)
	if err != nil || header.Response || header.OpCode != 0 || len(data) > maxMessage {
		return asked{}, false
	}
	sub := subtype(nameplate)
	for range maxRecords {
		q, err := p.Question()
		if err != nil {
			return asked{}, false
		}
		name := q.Name.String()
		if (strings.EqualFold(name, sub) || strings.EqualFold(name, service)) &&
			(q.Type == dnsmessage.TypePTR || q.Type == dnsmessage.TypeALL) &&
			(q.Class&classMask == dnsmessage.ClassINET || q.Class&classMask == dnsmessage.ClassANY) {
			return asked{header.ID, q}, true
		}
	}
	return asked{}, false
}

// answer says who holds a nameplate, and where. An answer to a questioner
// that does not use the group (legacy) repeats its id and question and does
// not speak of caches.
func answer(nameplate, instance string, port uint16, addrs []netip.Addr, q asked, legacy bool) ([]byte, error) {
	flush := dnsmessage.Class(cacheFlush)
	b := dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{Response: true, Authoritative: true})
	if legacy {
		flush = 0
		b = dnsmessage.NewBuilder(make([]byte, 0, 512), dnsmessage.Header{ID: q.id, Response: true, Authoritative: true})
	}
	b.EnableCompression()
	owner, err := dnsmessage.NewName(instance + "." + service)
	if err != nil {
		return nil, err
	}
	host, err := dnsmessage.NewName(instance + ".local.")
	if err != nil {
		return nil, err
	}
	sub, err := dnsmessage.NewName(subtype(nameplate))
	if err != nil {
		return nil, err
	}
	header := func(name dnsmessage.Name, flush dnsmessage.Class) dnsmessage.ResourceHeader {
		return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET | flush, TTL: ttl}
	}
	if legacy {
		if err := b.StartQuestions(); err != nil {
			return nil, err
		}
		q.question.Class &= classMask
		if err := b.Question(q.question); err != nil {
			return nil, err
		}
	}
	if err := b.StartAnswers(); err != nil {
		return nil, err
	}
	if err := b.PTRResource(header(sub, 0), dnsmessage.PTRResource{PTR: owner}); err != nil {
		return nil, err
	}
	if strings.EqualFold(q.question.Name.String(), service) {
		if err := b.PTRResource(header(q.question.Name, 0), dnsmessage.PTRResource{PTR: owner}); err != nil {
			return nil, err
		}
	}
	if err := b.StartAdditionals(); err != nil {
		return nil, err
	}
	if err := b.SRVResource(header(owner, flush), dnsmessage.SRVResource{Port: port, Target: host}); err != nil {
		return nil, err
	}
	if err := b.TXTResource(header(owner, flush), dnsmessage.TXTResource{TXT: []string{"nameplate=" + nameplate}}); err != nil {
		return nil, err
	}
	for _, addr := range addrs {
		if addr.Is4() {
			err = b.AResource(header(host, flush), dnsmessage.AResource{A: addr.As4()})
		} else {
			err = b.AAAAResource(header(host, flush), dnsmessage.AAAAResource{AAAA: addr.As16()})
		}
		if err != nil {
			return nil, err
		}
	}
	return b.Finish()
}

// parseAnswer finds in data where a nameplate's holders are. Everything has
// to be in the one message.
func parseAnswer(data []byte, nameplate string) []netip.AddrPort {
	var p dnsmessage.Parser
	header, err := p.Start(data)
	if err != nil || !header.Response || header.RCode != dnsmessage.RCodeSuccess || len(data) > maxMessage {
		return nil
	}
	if p.SkipAllQuestions() != nil {
		return nil
	}
	type target struct {
		host string
		port uint16
	}
	sub := subtype(nameplate)
	owners := make(map[string]bool)
	targets := make(map[string]target)
	addrs := make(map[string][]netip.Addr)
	seen := 0
	// see takes in one record; false says that the section has ended.
	see := func(next func() (dnsmessage.ResourceHeader, error), skip func() error) (more bool) {
		h, err := next()
		if seen++; err != nil || seen > maxRecords {
			return false
		}
		name := strings.ToLower(h.Name.String())
		if h.Class&classMask != dnsmessage.ClassINET || h.TTL == 0 {
			return skip() == nil
		}
		switch h.Type {
		case dnsmessage.TypePTR:
			r, err := p.PTRResource()
			if err != nil {
				return false
			}
			if strings.EqualFold(name, sub) {
				owners[strings.ToLower(r.PTR.String())] = true
			}
		case dnsmessage.TypeSRV:
			r, err := p.SRVResource()
			if err != nil {
				return false
			}
			targets[name] = target{strings.ToLower(r.Target.String()), r.Port}
		case dnsmessage.TypeA:
			r, err := p.AResource()
			if err != nil {
				return false
			}
			addrs[name] = append(addrs[name], netip.AddrFrom4(r.A))
		case dnsmessage.TypeAAAA:
			r, err := p.AAAAResource()
			if err != nil {
				return false
			}
			addrs[name] = append(addrs[name], netip.AddrFrom16(r.AAAA).Unmap())
		default:
			return skip() == nil
		}
		return true
	}
	for see(p.AnswerHeader, p.SkipAnswer) {
	}
	if p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return nil
	}
	for see(p.AdditionalHeader, p.SkipAdditional) {
	}
	var found []netip.AddrPort
	for owner := range owners {
		to, ok := targets[owner]
		if !ok || to.port == 0 || !strings.HasSuffix(owner, "."+service) {
			continue
		}
		for _, addr := range addrs[to.host] {
			if len(found) < maxURLs {
				found = append(found, netip.AddrPortFrom(addr, to.port))
			}
		}
	}
	return found
}
