package api

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/licet/licet/api/apiv1"
	"github.com/licet/licet/fsm/fsmpb"
	"github.com/licet/licet/fsm/signed"
)

// maxSerial is the largest number that every JSON reader keeps exactly.
const maxSerial = 1<<53 - 1

// maxFaults is how many faults one problem names.
const maxFaults = 5

// form reads the fields of a body one by one and collects what is wrong with
// them. What was not asked for by the end is unknown.
type form struct {
	fields object
	asked  map[string]bool
	faults []fault
}

type fault struct{ field, text string }

func newForm(o object) *form { return &form{fields: o, asked: make(map[string]bool)} }

func (f *form) fault(field, format string, args ...any) {
	f.faults = append(f.faults, fault{field, fmt.Sprintf(format, args...)})
}

// take returns a field and whether it is there.
func (f *form) take(name string) (any, bool) {
	f.asked[name] = true
	value, ok := f.fields[name]
	return value, ok
}

// text reads a string that must be there, of at most so many bytes.
func (f *form) text(name string, most int) string {
	value, ok := f.take(name)
	text, isText := value.(string)
	switch {
	case !ok:
		f.fault(name, "%s: it is missing", name)
	case !isText:
		f.fault(name, "%s: it is %s instead of a string", name, typeName(value))
	case text == "":
		f.fault(name, "%s: it is empty", name)
	case len(text) > most:
		f.fault(name, "%s: %d bytes are more than %d", name, len(text), most)
	}
	return text
}

// checked reads a string that must be there and satisfy a grammar.
func (f *form) checked(name string, check func(field, text string) error) string {
	before := len(f.faults)
	text := f.text(name, signed.MaxDocument)
	if len(f.faults) > before {
		return ""
	}
	if err := check(name, text); err != nil {
		f.fault(name, "%.200s", err.Error())
	}
	return text
}

// has reports whether an optional field is there.
func (f *form) has(name string) bool {
	_, ok := f.take(name)
	return ok
}

// number reads an optional whole number from least to most; 0 if it is not there.
func (f *form) number(name string, least, most uint64) uint64 {
	value, ok := f.take(name)
	if !ok {
		return 0
	}
	return f.whole(name, name, value, least, most)
}

// small reads a number of 32 bits.
func (f *form) small(name string, least, most uint32) uint32 {
	return uint32(f.number(name, uint64(least), uint64(most))) //nolint:gosec // G115: it was held to its bounds when it was read
}

func (f *form) whole(field, path string, value any, least, most uint64) uint64 {
	number, ok := value.(json.Number)
	if !ok {
		f.fault(field, "%s: it is %s instead of a number", path, typeName(value))
		return 0
	}
	n, err := parseWhole(number.String(), least, most)
	if err != nil {
		f.fault(field, "%s: %s", path, err)
	}
	return n
}

// parseWhole takes plain decimal notation only: no sign, fraction, exponent or leading zero.
func parseWhole(text string, least, most uint64) (uint64, error) {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < least || n > most || len(text) > 1 && text[0] == '0' {
		return 0, fmt.Errorf("%.40q is not a whole number from %d to %d", text, least, most)
	}
	return n, nil
}

// quantities reads a number per area, of at least so many areas, sorted by area
// so that equal requests have equal fingerprints.
func (f *form) quantities(name string, least int) []*fsmpb.Quantity {
	value, ok := f.take(name)
	areas, isObject := value.(object)
	switch {
	case !ok:
		f.fault(name, "%s: it is missing", name)
		return nil
	case !isObject:
		f.fault(name, "%s: it is %s instead of an object", name, typeName(value))
		return nil
	case len(areas) < least:
		f.fault(name, "%s: it names no area", name)
	case len(areas) > signed.MaxAreas:
		f.fault(name, "%s: %d areas are more than %d", name, len(areas), signed.MaxAreas)
		return nil
	}
	list := make([]*fsmpb.Quantity, 0, len(areas))
	for _, area := range slices.Sorted(maps.Keys(areas)) {
		if err := signed.CheckName(name, area); err != nil {
			f.fault(name, "%.200s", err.Error())
			continue
		}
		n := f.whole(name, name+"."+area, areas[area], 0, signed.MaxQuantity)
		list = append(list, &fsmpb.Quantity{Name: area, N: n})
	}
	return list
}

// done reports everything that was wrong.
func (f *form) done() error {
	f.leftovers()
	return malformed(f.faults)
}

// leftovers are the fields that nobody asked for.
func (f *form) leftovers() {
	for _, name := range slices.Sorted(maps.Keys(f.fields)) {
		if !f.asked[name] {
			f.fault(name, "field %.80q is unknown", name)
		}
	}
}

// malformed makes one problem of faults, or nil of none.
func malformed(faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	texts := make([]string, 0, maxFaults)
	for _, x := range faults[:min(len(faults), maxFaults)] {
		texts = append(texts, x.text)
	}
	if more := len(faults) - maxFaults; more > 0 {
		texts = append(texts, fmt.Sprintf("%d more faults", more))
	}
	field := cmp.Or(faults[0].field, "body")
	if len(field) > signed.MaxName {
		field = strings.ToValidUTF8(field[:signed.MaxName], "")
	}
	return problemf(apiv1.CodeBadRequest, "The request is malformed: %s.", strings.Join(texts, "; ")).with("field", apiv1.Text(field))
}
