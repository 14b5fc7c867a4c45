// Package share holds what several services need and none of them owns: the
// variables that a program started for a peer gets, the end of all the
// processes that it has started, the frames in which it talks with that peer,
// and patterns of names in a tree.
package share
