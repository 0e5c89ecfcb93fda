package apiv1

import (
	"encoding/json"
	"testing"
)

func TestFact(t *testing.T) {
	for text, want := range map[string]Fact{
		`7`: Number(7), `-9223372036854775808`: Number(-1 << 63), `"7"`: Text("7"), `""`: Text(""), `"é"`: Text("é"),
	} {
		var f Fact
		if err := json.Unmarshal([]byte(text), &f); err != nil || f != want {
			t.Errorf("%s: read %+v, %v", text, f, err)
		}
		if again, err := json.Marshal(f); err != nil || string(again) != text {
			t.Errorf("%s: written %s, %v", text, again, err)
		}
		if n, ok := f.Int(); ok == (text[0] == '"') || ok && f.String() != text || !ok && n != 0 {
			t.Errorf("%s: %d %t %q", text, n, ok, f)
		}
	}
	for _, text := range []string{`1.5`, `null`, `true`, `{}`, `99999999999999999999`} {
		if err := json.Unmarshal([]byte(text), new(Fact)); err == nil && text != `null` {
			t.Errorf("%s was accepted", text)
		}
	}
}
