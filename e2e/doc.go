// Package e2e drives licet from outside, as users and accidents do: real
// processes of the built binary, with certificates, data directories and ports
// of their own, asked over HTTP and by the command line, killed, stopped and
// cut off. It holds tests only.
package e2e
