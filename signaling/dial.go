package signaling

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// maxClockSkew is from where on a clock that is off is worth a warning.
const maxClockSkew = 30 * time.Second

// newHTTPClient makes the client's own HTTP client: the environment's proxy
// except for nearby servers, no redirects, bounded headers.
func newHTTPClient(given *http.Client, tlsConfig *tls.Config) *http.Client {
	if given == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.TLSClientConfig = tlsConfig.Clone()
		transport.MaxResponseHeaderBytes = 64 << 10
		transport.Proxy = func(r *http.Request) (*url.URL, error) {
			if nearby(r.URL.Hostname()) {
				return nil, nil
			}
			return http.ProxyFromEnvironment(r)
		}
		given = &http.Client{Transport: transport}
	}
	own := *given
	// A redirect would lead to a server that the user did not name.
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Probed is what Probe learned about a server.
type Probed struct {
	Info
	RTT       time.Duration // of the request, with setting up the connection
	ClockSkew time.Duration // the server's clock minus ours
}

// ClockWarning is a sentence for people if the clocks differ by more than 30
// seconds, else "".
func ClockWarning(skew time.Duration) string {
	if skew.Abs() <= maxClockSkew {
		return ""
	}
	direction := "behind"
	if skew < 0 {
		direction = "ahead of"
	}
	return fmt.Sprintf("this computer's clock is %v %s the server's", skew.Abs().Round(time.Second), direction)
}

// Probe asks a server what it is, without connecting to it as a client. Of cfg
// it uses what says how to reach servers. Errors are those of connecting.
func Probe(ctx context.Context, cfg Config, server string) (Probed, error) {
	a, err := parseAddress(server, cfg.AllowInsecure)
	if err != nil {
		return Probed{}, err
	}
	httpClient := newHTTPClient(cfg.HTTPClient, cfg.TLS)
	if cfg.HTTPClient == nil {
		defer httpClient.CloseIdleConnections()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.at("/v1/info"), nil)
	if err != nil {
		return Probed{}, &Error{Op: "probe", Kind: KindInvalid, Text: a.String(), Err: err}
	}
	start := time.Now()
	resp, err := httpClient.Do(req)
	if err != nil {
		return Probed{}, dialError("probe", a, err, nil)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, MaxFrame))
	if err != nil {
		return Probed{}, dialError("probe", a, err, nil)
	}
	rtt := time.Since(start)
	var info Info
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &info) != nil || info.Service != ServiceName {
		resp.Body = io.NopCloser(strings.NewReader(string(body)))
		return Probed{}, dialError("probe", a, errors.New("not what a tandem server answers"), resp)
	}
	if err := checkVersion("probe", a, info.Version, info.MinVersion); err != nil {
		return Probed{}, err
	}
	return Probed{Info: info, RTT: rtt, ClockSkew: skew(info.Time, start, rtt)}, nil
}

// skew compares the server's time, in milliseconds since 1970, with ours at half of a round trip.
func skew(server int64, start time.Time, rtt time.Duration) time.Duration {
	const century = 100 * 365 * 24 * time.Hour
	d := time.UnixMilli(server).Sub(start.Add(rtt / 2).Round(0))
	return max(-century, min(d, century))
}

func checkVersion(op string, a address, version, minVersion int) error {
	switch {
	case version < MinVersion:
		return &Error{
			Op: op, Kind: KindUnsupported,
			Text: fmt.Sprintf("%s speaks protocol %d, and %d is the oldest this tandem speaks", a, version, MinVersion),
			Hint: "the server has to be updated, or use another one",
		}
	case minVersion > Version:
		return &Error{
			Op: op, Kind: KindUnsupported,
			Text: fmt.Sprintf("%s wants protocol %d at least, and this tandem speaks %d", a, minVersion, Version),
			Hint: "update tandem",
		}
	}
	return nil
}

// dialError says in people's words why a server could not be reached, or is
// none. resp is its answer, if there was one, with at most a frame of body.
func dialError(op string, a address, err error, resp *http.Response) error {
	e := &Error{Op: op, Kind: KindUnavailable, Err: err}
	if resp != nil {
		answered(e, a, resp)
		return e
	}
	var (
		dns       *net.DNSError
		verify    *tls.CertificateVerificationError
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
		alert     tls.AlertError
		timeout   net.Error
	)
	switch {
	case errors.Is(err, context.Canceled):
		e.Kind, e.Text = KindCanceled, "given up"
	case errors.As(err, &authority):
		e.Kind, e.Text = KindIntegrity, a.String()+" has a certificate from an authority that this computer does not know"
		e.Hint = "if it is the authority of your own server, or of a proxy that inspects TLS here, name it in ca_file; otherwise do not trust this server's address"
	case errors.As(err, &hostname):
		e.Kind, e.Text = KindIntegrity, a.String()+" has a certificate for another name"
		e.Hint = "check the address"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		e.Kind, e.Text = KindIntegrity, a.String()+" has a certificate that is not valid at this time"
		e.Hint = "check this computer's clock; if it is right, the server's operator has to renew the certificate"
	case errors.As(err, &verify), errors.As(err, &invalid):
		e.Kind, e.Text = KindIntegrity, a.String()+" has a certificate that cannot be verified"
		e.Hint = "the server's operator has to mend it"
	case errors.As(err, &record), strings.Contains(err.Error(), "server gave HTTP response to HTTPS client"):
		e.Kind, e.Text = KindUnsupported, a.String()+" does not speak TLS"
		e.Hint = "if it is a server of your own on this network, use " + a.otherScheme()
	case errors.As(err, &alert):
		e.Kind, e.Text = KindIntegrity, a.String()+" ended the TLS handshake"
		e.Hint = "check the address: the server may not go by this name"
	case errors.As(err, &dns) && dns.IsNotFound:
		e.Text, e.Hint = "there is no "+a.base.Hostname(), "check the address for typing errors"
	case errors.As(err, &dns):
		e.Text, e.Hint = "the name "+a.base.Hostname()+" cannot be looked up", "check whether this computer is online"
	case errors.Is(err, syscall.ECONNREFUSED):
		e.Text, e.Hint = "nothing answers at "+a.String(), "check the address and that the server is running"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		e.Kind, e.Text = KindTimeout, a.String()+" does not answer"
		e.Hint = "check the network; a firewall may be in the way"
	default:
		e.Text, e.Hint = a.String()+" cannot be reached", "check the network and the address"
	}
	return e
}

// answered explains an HTTP answer that is not the one we wanted.
func answered(e *Error, a address, resp *http.Response) {
	var body string
	if resp.Body != nil {
		data, _ := io.ReadAll(io.LimitReader(resp.Body, 1024))
		body = string(data)
	}
	status := fmt.Sprintf("%d %s", resp.StatusCode, http.StatusText(resp.StatusCode))
	switch code := resp.StatusCode; {
	case code == http.StatusMisdirectedRequest:
		e.Kind, e.Text = KindDenied, a.String()+" does not go by this name"
		e.Hint = "use the server's own name; its operator can add others (tandem server --host)"
	case code == http.StatusTooManyRequests:
		e.Kind, e.Text = KindBusy, a.String()+" takes no more connections from this network now"
		e.Hint = "try again in a minute"
	case code == http.StatusServiceUnavailable, code == http.StatusBadGateway, code == http.StatusGatewayTimeout:
		e.Text, e.Hint = a.String()+" is not available ("+status+")", "try again in a minute"
	case code == http.StatusProxyAuthRequired:
		e.Kind, e.Text = KindDenied, "the proxy on the way to "+a.String()+" wants a password"
		e.Hint = "put it into HTTPS_PROXY"
	case code >= 300 && code < 400:
		e.Kind, e.Text = KindUnsupported, a.String()+" refers to "+printable(resp.Header.Get("Location"))
		e.Hint = "if that is the right server, use its address"
	case code == http.StatusBadRequest && strings.Contains(body, "HTTPS server"):
		e.Kind, e.Text = KindUnsupported, a.String()+" wants TLS"
		e.Hint = "use " + a.otherScheme()
	default:
		e.Kind, e.Text = KindUnsupported, a.String()+" is not a tandem server ("+status+")"
		e.Hint = "check the address; a proxy or a login page of this network may have answered instead"
	}
}
