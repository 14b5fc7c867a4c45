package node

import (
	"os"
	"path/filepath"
	"runtime"

	"tandem/session"
)

// Home is where a device keeps what it knows.
type Home struct {
	// Config holds config.toml, which people write.
	Config string
	// State holds the device key, known peers, invites and the control
	// socket, which tandem writes.
	State string
}

// Recordings is the folder for recordings of terminals.
func (h Home) Recordings() string {
	return filepath.Join(h.State, "recordings") + string(os.PathSeparator)
}

// auditLog is the folder of the audit log.
func (h Home) auditLog() string { return filepath.Join(h.State, "audit") }

// FindHome is TANDEM_HOME for both folders if it is set, and otherwise the
// platform's: XDG_CONFIG_HOME and XDG_STATE_HOME or their defaults on Unix,
// the user's Library or AppData folders elsewhere.
func FindHome(env func(string) string) (Home, error) {
	if dir := env("TANDEM_HOME"); dir != "" {
		abs, err := filepath.Abs(dir)
		if err != nil {
			return Home{}, &session.Error{Op: "find TANDEM_HOME", Kind: session.Invalid, Err: err}
		}
		return Home{Config: abs, State: abs}, nil
	}
	config, err := os.UserConfigDir()
	if err != nil {
		return Home{}, &session.Error{
			Op: "find a home", Kind: session.Invalid, Err: err,
			Hint: "Set TANDEM_HOME to a folder for tandem's key and settings.",
		}
	}
	state := config
	if runtime.GOOS != "windows" && runtime.GOOS != "darwin" {
		state = env("XDG_STATE_HOME")
		if !filepath.IsAbs(state) {
			home, err := os.UserHomeDir()
			if err != nil {
				return Home{}, &session.Error{Op: "find a home", Kind: session.Invalid, Err: err, Hint: "Set TANDEM_HOME."}
			}
			state = filepath.Join(home, ".local", "state")
		}
	}
	return Home{Config: filepath.Join(config, "tandem"), State: filepath.Join(state, "tandem")}, nil
}
