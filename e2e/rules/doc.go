// Package rules reads what the lines of the rule scripts say, which are in
// e2e/testdata/rules; README.md there explains them. Package fsm plays them on one
// state machine, this package's test on a cluster of three nodes.
package rules
