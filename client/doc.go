// Package client is the Go client of licet's HTTP interface.
//
// A Client knows the addresses of some or all nodes and asks the one that
// answered last; when that one is gone, slow or without a leader, it asks the
// next. Reads are repeated freely. Every write gets a request id
// (Idempotency-Key, rule E1) that it keeps over all attempts, so that it is
// carried out once at most, whichever nodes saw it. A write whose outcome the
// client can't learn in time is reported with the code outcome_unknown, never
// as a failure (rule E2): send it again with the same id, see WithRequestID.
//
//	c, err := client.New(client.Options{
//		Endpoints: []string{"http://bordeaux:7001", "http://lyon:7001", "http://paris:7001"},
//		Token:     token,
//	})
//	...
//	made, err := c.CreateInstance(ctx, "acme-2026", "bordeaux", apiv1.Quantities{"primary": 15})
//	if client.CodeOf(err) == apiv1.CodeContractExhausted { ... }
//	store(made.Value.Serial, made.Value.Key)
//
// Hold takes a seat and keeps it until it is closed: see Seat.
//
// Errors of all methods are *Error. Lists come in pages; those of the methods whose names begin
// with All are iterators that follow them.
//
// License keys and borrow tokens are verified without any node: see Verifier.
package client
