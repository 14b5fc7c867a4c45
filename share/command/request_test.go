package command

import (
	"strings"
	"testing"

	"tandem/session"
)

func TestRequested(t *testing.T) {
	for want, r := range map[string]Request{
		"uptime -p":                         {Argv: []string{"uptime", "-p"}},
		`printf "a b" "" "it's" $HOME`:      {Argv: []string{"printf", "a b", "", "it's", "$HOME"}},
		`echo "a\nbob was refused"`:         {Argv: []string{"echo", "a\nbob was refused"}},
		"echo \ufffd[31m\ufffdx":            {Argv: []string{"echo", "\x1b[31m\u202ex"}},
		"restart":                           {Pinned: "restart"},
		strings.Repeat("ö", 60) + "…":       {Argv: []string{strings.Repeat("ö", 3000)}},
		"x" + strings.Repeat("ö", 59) + "…": {Argv: []string{"x" + strings.Repeat("ö", 3000), "more"}},
	} {
		h, err := r.Header()
		if err != nil {
			t.Fatal(err)
		}
		if got := Requested(h); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for _, h := range []session.Header{{}, {Action: Run, Params: []byte("{")}, {Action: "ran", Params: []byte(`{"argv":["a"]}`)}} {
		if got := Requested(h); got != "" {
			t.Errorf("%+v: %q", h, got)
		}
	}
}
