package history

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// ErrUndecided says that the time did not suffice to find an order, nor that there is none.
var ErrUndecided = errors.New("it was not found out in time whether the history is linearizable")

// Limits of a check.
type Limits struct {
	// Timeout bounds the search in each part with each model.
	Timeout time.Duration
	// Pictures is the directory that a picture is written into of a part that is not linearizable; empty: none is.
	Pictures string
}

// Check looks for an order of each part of the history in which every answer is right, by either model. Its error says where there is none, or wraps
// ErrUndecided. It starts goroutines that end before it returns; the recorder must not be used meanwhile.
func (r *Recorder) Check(limits Limits) error {
	step, err := newStepped(&r.setup)
	if err != nil {
		return err
	}
	machines := map[string]machine{"state machine": step, "naive model": newNaive(&r.setup)}
	var errs []error
	for _, name := range []string{"state machine", "naive model"} {
		first := newState(machines[name])
		for _, part := range []struct {
			name      string
			instances bool
		}{{"pool " + r.setup.Pool, false}, {"instances of " + r.setup.Contract, true}} {
			errs = append(errs, search(first, r.part(part.instances), "the "+name+", "+part.name, limits))
		}
	}
	return errors.Join(errs...)
}

// search checks one part with one model.
func search(first *state, list []porcupine.Operation, what string, limits Limits) error {
	m := model(first)
	result := porcupine.CheckOperationsTimeout(m, list, limits.Timeout)
	switch result {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%s: %w, which was %s for %d operations", what, ErrUndecided, limits.Timeout, len(list))
	}
	// How far it came is asked for when it is wanted alone, as that takes longer.
	_, info := porcupine.CheckOperationsVerbose(m, list, limits.Timeout)
	text := excerpt(first, list, longest(info))
	if limits.Pictures != "" {
		path := filepath.Join(limits.Pictures, "licet-"+strings.NewReplacer(" ", "-", ",", "").Replace(what)+".html")
		text += fmt.Sprintf("\n%s has a picture (%v)", path, porcupine.VisualizePath(m, info, path))
	}
	return fmt.Errorf("%s: the history of %d operations is not linearizable\n%s", what, len(list), text)
}

// longest is the longest order of some operations that was found.
func longest(info porcupine.LinearizationInfo) (list []porcupine.Operation) {
	for _, part := range info.PartialLinearizationsOperations() {
		for _, x := range part {
			if len(x) > len(list) {
				list = x
			}
		}
	}
	return list
}

// shown is how many operations before the one that fits nowhere are shown.
const shown = 12

// excerpt shows the end of an order that can't go on, and what would have to come next.
func excerpt(first *state, list, order []porcupine.Operation) string {
	var text strings.Builder
	line := func(x porcupine.Operation) {
		fmt.Fprintf(&text, "  client %d, %s: %s: %s", x.ClientId, x.Metadata, x.Input.(Input), x.Output.(Output))
	}
	s, placed := first, map[int64]bool{}
	fmt.Fprintf(&text, "%d operations have an order, which ends with\n", len(order))
	for i, x := range order {
		placed[x.Call] = true
		if next, fits := s.step(x.Input.(Input), x.Output.(Output)); fits {
			s = next
		}
		if i >= len(order)-shown {
			line(x)
			text.WriteString("\n")
		}
	}
	fmt.Fprintf(&text, "then is\n  %s\nand none of these fits, of which one must be next:\n", s.key)
	rest := slices.DeleteFunc(slices.Clone(list), func(x porcupine.Operation) bool { return placed[x.Call] })
	if len(rest) == 0 {
		return text.String()
	}
	until := slices.MinFunc(rest, func(a, b porcupine.Operation) int { return int(min(1, max(-1, a.Return-b.Return))) }).Return
	for _, x := range rest {
		if x.Call > until {
			continue
		}
		line(x)
		if own, known := s.translate(x.Input.(Input)); known {
			_, want := s.machine.step(own)
			fmt.Fprintf(&text, ", where the model says, by ids of its own: %s\n", want)
		} else {
			text.WriteString(", of what was not given out yet\n")
		}
	}
	return text.String()
}
