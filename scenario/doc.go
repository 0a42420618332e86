// Package scenario tells drover's stories end to end: the program as a user starts it, against a real control plane, with AWS spoken over the
// wire; and the same plans and engine in memory, on a virtual clock, where a story takes milliseconds and is told in every variation: restarted
// after every action, on stale reads, with each call failing and each reply lost, in shuffled orders. Its tests are the promises of the README.
//
// The pods of a story's stores run processes of a model of Redis (sandbox/store), to which drover's own hand speaks (package redis): each of its commands
// is a call that may fail or whose reply may be lost, and after each that changes something the process may be killed.
//
// A story is a file in testdata, in a grammar of its own ([Commands]). [Safety] is the list that is held against the world after every action.
// Stories whose first line is "# real" are told in both worlds.
package scenario
