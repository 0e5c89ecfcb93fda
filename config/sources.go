package config

import (
	"slices"
	"strings"
)

const (
	envPrefix      = "LICET_"
	overrideSource = "--set"
)

// environment takes the variables that begin with LICET_, by name, so that errors have one order.
func (l *loader) environment(environ []string) {
	sorted := slices.Sorted(slices.Values(environ))
	seen := map[string]bool{}
	for _, entry := range sorted {
		variable, value, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(variable, envPrefix) || slices.Contains(clientEnvironment, variable) {
			continue
		}
		from := origin{source: "environment " + plain(variable)}
		k := keyOfVariable(variable)
		switch {
		case k == nil:
			l.problem(from.source, "", "%s%s", unknownVariable(variable), serviceLinkHint(variable))
		case seen[variable]:
			l.problem(from.source, k.name, "set twice")
		default:
			seen[variable] = true
			l.assignText(k, value, from)
		}
	}
}

func keyOfVariable(variable string) *key {
	for i := range keys {
		if keys[i].env() == variable {
			return &keys[i]
		}
	}
	return nil
}

func unknownVariable(variable string) string {
	section, _, _ := strings.Cut(strings.TrimPrefix(variable, envPrefix), "_")
	if section != strings.ToUpper(section) {
		return "no key has this variable; variables are LICET_<SECTION>_<KEY> in upper case"
	}
	return "no key has this variable, LICET_<SECTION>_<KEY>: " + unknown(strings.ToLower(section))
}

// serviceLinkHint helps where Kubernetes, for a service named licet, puts variables into every pod that look like
// ours. They are refused like any other: LICET_HTTP_PORT may as well be a mistake.
func serviceLinkHint(variable string) string {
	linked := strings.HasSuffix(variable, "_PORT") || strings.HasSuffix(variable, "_SERVICE_HOST") ||
		strings.Contains(variable, "_SERVICE_PORT") || strings.Contains(variable, "_TCP") || strings.Contains(variable, "_UDP")
	if !linked {
		return ""
	}
	return " (Kubernetes makes such variables for a service; enableServiceLinks: false in the pod stops it)"
}

// overrides takes "section.key=value" one by one.
func (l *loader) overrides(overrides []string) {
	seen := map[string]bool{}
	for _, override := range overrides {
		name, value, found := strings.Cut(override, "=")
		from := origin{source: overrideSource}
		place := from.place(plain(name))
		k := keyNamed(name)
		section, _, _ := strings.Cut(name, ".")
		switch {
		case !found && k == nil:
			// What has no = may be anything, a token put into the wrong place too.
			l.problem(overrideSource, "", "found an override without =; allowed: section.key=value")
		case !found:
			l.problem(place, k.name, "found no value; allowed: %s=value", k.name)
		case k == nil:
			l.problem(place, "", "%s", unknown(section))
		case seen[name]:
			l.problem(place, k.name, "set twice")
		default:
			seen[name] = true
			l.assignText(k, value, from)
		}
	}
}

// assignText assigns a value that is written in one text.
func (l *loader) assignText(k *key, text string, from origin) {
	var items []item
	for _, t := range k.split(text) {
		items = append(items, item{text: t, from: from})
	}
	l.assign(k, items, from)
}

// plain is a name as it was found, quoted only if it holds more than a name's characters or is long.
func plain(name string) string {
	odd := func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._-", r))
	}
	if name == "" || len(name) > 64 || strings.ContainsFunc(name, odd) {
		return quoted(name)
	}
	return name
}
