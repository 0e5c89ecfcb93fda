// Package apiv1 holds the JSON types of licet's HTTP interface, version 1. They
// are generated from api/openapi.yaml, which says what they mean.
package apiv1
