package api

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/licet/licet/fsm/signed"
)

// optional reads a string like checked, if it is there.
func (f *form) optional(name string, check func(field, text string) error) string {
	if !f.has(name) {
		return ""
	}
	return f.checked(name, check)
}

// flag reads an optional boolean.
func (f *form) flag(name string) bool {
	value, ok := f.take(name)
	is, isBool := value.(bool)
	if ok && !isBool {
		f.fault(name, "%s: it is %s instead of a boolean", name, typeName(value))
	}
	return is
}

// millis reads an optional time in milliseconds since 1970-01-01 UTC, 0 if it is not there.
func (f *form) millis(name string) int64 {
	if !f.has(name) {
		return 0
	}
	var at time.Time
	f.checked(name, func(field, text string) (err error) {
		at, err = parseTime(field, text)
		return err
	})
	return at.UnixMilli()
}

// parseTime takes RFC 3339 within the years that the state can hold.
func parseTime(field, text string) (time.Time, error) {
	at, err := time.Parse(time.RFC3339, text)
	if err != nil || at.Year() < 1970 || at.UTC().Year() > 9000 || at.UnixMilli() <= 0 {
		return time.Time{}, fmt.Errorf("%s: %.40q is no time (2026-12-31T18:00:00Z) of 1970 to 9000", field, text)
	}
	return at.UTC(), nil
}

// nested reads an object within the form with a form of its own.
func (f *form) nested(field, path string, value any, read func(*form)) {
	o, isObject := value.(object)
	if !isObject {
		f.fault(field, "%s: it is %s instead of an object", path, typeName(value))
		return
	}
	inner := newForm(o)
	read(inner)
	inner.leftovers()
	for _, x := range inner.faults {
		f.fault(field, "%s: %s", path, x.text)
	}
}

// inner reads an optional object.
func (f *form) inner(name string, read func(*form)) {
	if value, ok := f.take(name); ok {
		f.nested(name, name, value, read)
	}
}

// named reads an object of objects by name, in the order of their names so that equal
// requests have equal fingerprints.
func (f *form) named(name string, most int, read func(key string, inner *form)) {
	value, ok := f.take(name)
	all, isObject := value.(object)
	switch {
	case !ok:
		f.fault(name, "%s: it is missing", name)
		return
	case !isObject:
		f.fault(name, "%s: it is %s instead of an object", name, typeName(value))
		return
	case len(all) == 0:
		f.fault(name, "%s: it is empty", name)
	case len(all) > most:
		f.fault(name, "%s: %d are more than %d", name, len(all), most)
		return
	}
	for _, key := range slices.Sorted(maps.Keys(all)) {
		if err := signed.CheckName(name, key); err != nil {
			f.fault(name, "%.200s", err.Error())
			continue
		}
		f.nested(name, name+"."+key, all[key], func(inner *form) { read(key, inner) })
	}
}

// items reads an optional array of at most so many.
func (f *form) items(name string, most int, read func(path string, value any)) {
	value, ok := f.take(name)
	list, isArray := value.([]any)
	switch {
	case !ok:
	case !isArray:
		f.fault(name, "%s: it is %s instead of an array", name, typeName(value))
	case len(list) > most:
		f.fault(name, "%s: %d are more than %d", name, len(list), most)
	}
	if !isArray || len(list) > most {
		return
	}
	for i, item := range list {
		read(fmt.Sprintf("%s[%d]", name, i), item)
	}
}

// texts reads an optional array of strings.
func (f *form) texts(name string, most int, check func(field, text string) error) (list []string) {
	f.items(name, most, func(path string, value any) {
		text, isText := value.(string)
		if !isText {
			f.fault(name, "%s: it is %s instead of a string", path, typeName(value))
			return
		}
		if err := check(path, text); err != nil {
			f.fault(name, "%.200s", err.Error())
		}
		list = append(list, text)
	})
	return list
}

// Bounds of the lists in a pool's definition.
const (
	maxEntries = 1000
	maxGroups  = 64
)
