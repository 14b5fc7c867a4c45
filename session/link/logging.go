package link

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/pion/logging"
)

// pionLog hands pion's log lines to slog. What pion calls a warning is often
// ordinary life on a bad network: everything goes to the debug level.
type pionLog struct {
	log *slog.Logger
}

var _ logging.LoggerFactory = pionLog{}

func (p pionLog) NewLogger(scope string) logging.LeveledLogger {
	return pionLog{p.log.With("pion", scope)}
}

func (p pionLog) print(text string) { p.log.Debug(text) }

func (p pionLog) printf(format string, args ...any) {
	if p.log.Enabled(context.Background(), slog.LevelDebug) {
		p.log.Debug(fmt.Sprintf(format, args...))
	}
}

func (p pionLog) Trace(string)                      {}
func (p pionLog) Tracef(string, ...any)             {}
func (p pionLog) Debug(string)                      {}
func (p pionLog) Debugf(string, ...any)             {}
func (p pionLog) Info(msg string)                   { p.print(msg) }
func (p pionLog) Infof(format string, args ...any)  { p.printf(format, args...) }
func (p pionLog) Warn(msg string)                   { p.print(msg) }
func (p pionLog) Warnf(format string, args ...any)  { p.printf(format, args...) }
func (p pionLog) Error(msg string)                  { p.print(msg) }
func (p pionLog) Errorf(format string, args ...any) { p.printf(format, args...) }
