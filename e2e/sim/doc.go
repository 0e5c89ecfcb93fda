// Package sim is a cluster in one process under virtual time: three or five nodes with the code of packages cluster and
// fsm and the Raft that they use, on a network, on disks and with clocks that fail as a seed says.
//
// All of it is in tests; docs/reliability.md says what is injected, and what is checked.
package sim
