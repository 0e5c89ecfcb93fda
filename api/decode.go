package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"unicode/utf8"

	"github.com/licet/licet/api/apiv1"
)

// maxDepth bounds how deep a body nests; no schema comes near it.
const maxDepth = 8

// readBody returns the whole body of a request, which must be of the wanted type and UTF-8.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, want string) ([]byte, error) {
	if err := checkType(r, want); err != nil {
		return nil, err
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, problemf(apiv1.CodeBodyTooLarge, "The body is longer than %d bytes.", limit).with("limit", apiv1.Number(limit))
	case err != nil:
		p := problemf(apiv1.CodeBadRequest, "The body ended early, after %d bytes.", len(body))
		p.cause = err
		return nil, p
	}
	return body, nil
}

// checkType refuses bodies of other types than the wanted one.
func checkType(r *http.Request, want string) error {
	types := r.Header.Values("Content-Type")
	if len(types) != 1 {
		return problemf(apiv1.CodeUnsupportedMediaType, "There are %d Content-Type headers instead of one.", len(types))
	}
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		// What a body comes to that has to be unpacked is not known before.
		return problemf(apiv1.CodeUnsupportedMediaType, "The body is packed (Content-Encoding: %.40q); send it as it is.", encoding)
	}
	kind, params, err := mime.ParseMediaType(types[0])
	if err != nil || kind != want || !plainCharset(params) {
		return problemf(apiv1.CodeUnsupportedMediaType, "The body is %.80q instead of %s.", types[0], want)
	}
	return nil
}

// plainCharset accepts the charset that bodies have anyway.
func plainCharset(params map[string]string) bool {
	for name, value := range params {
		if name != "charset" || !bytes.EqualFold([]byte(value), []byte("utf-8")) {
			return false
		}
	}
	return true
}

// object is a JSON object.
type object map[string]any

// decodeBody reads a body that is one JSON object. It is stricter than
// encoding/json: field names are taken as they are, repeated ones are refused, so
// are bytes that are no UTF-8, anything after the object, and deep nesting.
// Values are object, []any, string, json.Number, bool or nil.
func decodeBody(body []byte) (object, error) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, errors.New("the body is empty; a JSON object is wanted")
	}
	if !utf8.Valid(body) {
		return nil, errors.New("the body is not UTF-8")
	}
	var raw json.RawMessage
	if err := json.Unmarshal(body, &raw); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, fmt.Errorf("the body is not JSON: %w (at byte %d)", err, syntax.Offset)
		}
		return nil, fmt.Errorf("the body is not JSON: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	value, err := decodeValue(d, 1)
	if err != nil {
		return nil, err
	}
	o, ok := value.(object)
	if !ok {
		return nil, fmt.Errorf("the body is %s instead of an object", typeName(value))
	}
	return o, nil
}

// decodeValue relies on the text being valid JSON.
func decodeValue(d *json.Decoder, depth int) (any, error) {
	token, err := d.Token()
	if err != nil {
		return nil, err
	}
	delim, ok := token.(json.Delim)
	if !ok {
		return token, nil
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("the body nests deeper than %d levels", maxDepth)
	}
	if delim == '[' {
		return decodeArray(d, depth)
	}
	return decodeObject(d, depth)
}

func decodeArray(d *json.Decoder, depth int) (any, error) {
	list := []any{}
	for d.More() {
		value, err := decodeValue(d, depth+1)
		if err != nil {
			return nil, err
		}
		list = append(list, value)
	}
	_, err := d.Token()
	return list, err
}

func decodeObject(d *json.Decoder, depth int) (any, error) {
	o := object{}
	for d.More() {
		token, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := token.(string)
		if _, twice := o[name]; twice {
			return nil, fmt.Errorf("field %.80q stands there twice", name)
		}
		if o[name], err = decodeValue(d, depth+1); err != nil {
			return nil, err
		}
	}
	_, err := d.Token()
	return o, err
}

func typeName(value any) string {
	switch value.(type) {
	case object:
		return "an object"
	case []any:
		return "an array"
	case string:
		return "a string"
	case json.Number:
		return "a number"
	case bool:
		return "a boolean"
	default:
		return "null"
	}
}
