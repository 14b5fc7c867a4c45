// Package share holds what several services need and none of them owns: the
// variables that a program started for a peer gets, and the end of all the
// processes that it has started.
package share
