package relay

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// logFactory gives pion/turn our logger. All of it is for debugging: what
// strangers send is no reason to fill a log.
type logFactory struct{ log *slog.Logger }

// NewLogger implements logging.LoggerFactory.
func (f logFactory) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{f.log.With("scope", scope)}
}

type pionLog struct{ log *slog.Logger }

func (l pionLog) print(msg string) { l.log.Debug(msg) }

func (l pionLog) printf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (l pionLog) Trace(string)                      {}
func (l pionLog) Tracef(string, ...any)             {}
func (l pionLog) Debug(msg string)                  { l.print(msg) }
func (l pionLog) Debugf(format string, args ...any) { l.printf(format, args...) }
func (l pionLog) Info(msg string)                   { l.print(msg) }
func (l pionLog) Infof(format string, args ...any)  { l.printf(format, args...) }
func (l pionLog) Warn(msg string)                   { l.print(msg) }
func (l pionLog) Warnf(format string, args ...any)  { l.printf(format, args...) }
func (l pionLog) Error(msg string)                  { l.print(msg) }
func (l pionLog) Errorf(format string, args ...any) { l.printf(format, args...) }
