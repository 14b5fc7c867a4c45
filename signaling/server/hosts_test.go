package server_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"tandem/signaling/server"
	"tandem/signaling/signalingtest"
)

// A server that is known by its own addresses refuses clients who take it for
// another, as those do whom a hostile server passes on.
func TestOwnAddresses(t *testing.T) {
	s := server.New(server.Config{OwnAddresses: true, Hosts: []string{"tandem.example"}})
	defer s.Close()
	h := httptest.NewServer(s)
	defer h.Close()
	at := strings.TrimPrefix(h.URL, "http://")
	_, port, _ := strings.Cut(at, ":")
	for host, want := range map[string]int{
		at: http.StatusSwitchingProtocols, "localhost:" + port: http.StatusSwitchingProtocols,
		"LOCALHOST:" + port: http.StatusSwitchingProtocols, "tandem.example": http.StatusSwitchingProtocols,
		"tandem.example:443": http.StatusSwitchingProtocols,
		"evil.example":       http.StatusMisdirectedRequest, "evil.example:" + port: http.StatusMisdirectedRequest,
		"127.0.0.1": http.StatusMisdirectedRequest, "127.0.0.2:" + port: http.StatusMisdirectedRequest,
		"localhost": http.StatusMisdirectedRequest, "[::1]:" + port: http.StatusMisdirectedRequest,
		"tandem.example." + at: http.StatusMisdirectedRequest, "tandem.example:" + port: http.StatusMisdirectedRequest,
	} {
		ws, resp, err := websocket.Dial(signalingtest.Within(t), h.URL+"/v1/ws", &websocket.DialOptions{Host: host})
		if err == nil {
			_ = ws.CloseNow()
		}
		if resp == nil || resp.StatusCode != want {
			t.Errorf("Host %s: %v, want %d", host, resp, want)
		}
	}
}
