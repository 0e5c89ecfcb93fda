package api

import "github.com/licet/licet/api/apiv1"

// Routes are all served operations as "METHOD path".
func Routes() []string {
	var list []string
	for _, rt := range routes {
		list = append(list, rt.method+" "+rt.path)
	}
	return list
}

// KnownCodes are all codes that have a status.
func KnownCodes() []string {
	var list []string
	for code := range statuses {
		list = append(list, string(code))
	}
	return list
}

// StatusOf is a code's status.
func StatusOf(code apiv1.Code) int { return statuses[code] }
