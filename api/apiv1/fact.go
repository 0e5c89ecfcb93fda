package apiv1

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// Fact is a number or a text behind a problem. The zero value is the number 0.
type Fact struct {
	text   string
	number int64
	isText bool
}

// Number returns a fact that is a number.
func Number(n int64) Fact { return Fact{number: n} }

// Text returns a fact that is a text.
func Text(s string) Fact { return Fact{text: s, isText: true} }

// Int is the number; false if the fact is a text.
func (f Fact) Int() (int64, bool) { return f.number, !f.isText }

// String is the text, or the number in decimal.
func (f Fact) String() string {
	if f.isText {
		return f.text
	}
	return strconv.FormatInt(f.number, 10)
}

// MarshalJSON writes a JSON number or string.
func (f Fact) MarshalJSON() ([]byte, error) {
	if f.isText {
		return json.Marshal(f.text)
	}
	return strconv.AppendInt(nil, f.number, 10), nil
}

// UnmarshalJSON reads a JSON integer or string.
func (f *Fact) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] == '"' {
		f.number, f.isText = 0, true
		return json.Unmarshal(data, &f.text)
	}
	n, err := strconv.ParseInt(string(data), 10, 64)
	if err != nil {
		return fmt.Errorf("a fact is an integer or a string, not %.40s", data)
	}
	*f = Number(n)
	return nil
}
