// Package sessiontest connects two peers inside one process, for the tests of
// services and of everything else that is written against session.Session. Its
// streams are the real ones of session/link/stream over channels in memory, so
// credit, half-close, resets and deadlines behave as they do over a network.
// Delay makes the path slow and Cut makes it fail.
package sessiontest
