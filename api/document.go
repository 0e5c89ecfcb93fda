package api

import _ "embed"

// OpenAPI is the OpenAPI 3.0 document of the interface, in YAML. Do not change it.
//
//go:embed openapi.yaml
var OpenAPI []byte
