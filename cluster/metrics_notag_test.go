//go:build !hashicorpmetrics

package cluster_test

const metricsTag = false
