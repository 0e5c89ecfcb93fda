//go:build hashicorpmetrics

package cluster_test

// metricsTag: Raft and memberlist report to hashicorp/go-metrics.
const metricsTag = true
