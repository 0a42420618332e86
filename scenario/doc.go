// Package scenario tells drover's stories end to end: the program as a user starts it, against a real control plane, with AWS spoken over the
// wire. Its tests are the promises of the README.
package scenario
