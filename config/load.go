package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// maxFileBytes bounds the configuration file. The commented example has a seventh of it; the YAML parser takes time
// that grows with the square of hostile input.
const maxFileBytes = 64 << 10

// Load reads the file at path (none if path is empty), then the variables of environ ("NAME=value", as
// [os.Environ]) that begin with LICET_, then overrides ("section.key=value"; a list's items are comma-separated),
// each overriding the one before. Relative file names, whichever source they come from, are resolved against the
// file's directory (without a file, the working directory).
//
// The files that the configuration names are not touched: see [Config.CheckFiles].
//
// An error about the contents is an [*Error] holding all that is wrong, each with its file and line, variable or
// override. A file that cannot be read gives the operating system's error, wrapped. The Config is zero then.
func Load(path string, environ, overrides []string) (Config, error) {
	var data []byte
	if path != "" {
		var err error
		if data, err = readBounded(path); err != nil {
			return Config{}, err
		}
	}
	return load(path, data, environ, overrides)
}

func readBounded(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err := errors.Join(err, f.Close()); err != nil {
		return nil, fmt.Errorf("configuration %s: %w", path, err)
	}
	return data, nil
}

// load is Load on a file that was read.
func load(path string, data []byte, environ, overrides []string) (Config, error) {
	l := &loader{path: path, config: Defaults(), origins: map[string]origin{}, bad: map[string]bool{}}
	whole := l.file(data)
	l.environment(environ)
	l.overrides(overrides)
	// What a broken file would have said is unknown, so nothing can be called missing or contradictory.
	if whole {
		l.missing()
		l.derive()
		l.contradictions()
	}
	if len(l.problems) > 0 {
		return Config{}, &Error{Problems: l.problems, Omitted: l.omitted}
	}
	return l.config, nil
}

// loader is the state of one Load.
type loader struct {
	path     string
	config   Config
	origins  map[string]origin // by key: where its value comes from; no entry for a default
	bad      map[string]bool   // keys with a problem; what depends on them is not judged
	problems []Problem
	omitted  int
}

// origin is where a value comes from: a line of the file, a variable or an override.
type origin struct {
	source string // "licet.yaml:12", "environment LICET_NODE_ID", "--set"
	inFile bool
}

// place is how a problem with key from this origin begins.
func (o origin) place(key string) string {
	switch {
	case o.inFile:
		return o.source + ": " + key
	case o.source == overrideSource:
		return o.source + " " + key
	}
	return o.source
}

// item is one value as it was written.
type item struct {
	text string
	from origin
}

// assign checks the items and sets the key to them.
func (l *loader) assign(k *key, items []item, from origin) {
	l.origins[k.name] = from
	if k.list && len(items) > k.max {
		l.problem(from.place(k.name), k.name, "found %d items; allowed: %s", len(items), k.allowed)
		return
	}
	texts := make([]string, 0, len(items))
	for _, it := range items {
		canonical, ok := k.canonical(it.text)
		switch {
		case !ok:
			l.problem(it.from.place(k.name), k.name, "found %s; allowed: %s", k.shown(it.text), k.allowed)
		case slices.Contains(texts, canonical):
			l.problem(it.from.place(k.name), k.name, "found %s twice", k.shown(it.text))
		default:
			texts = append(texts, canonical)
		}
	}
	if !l.bad[k.name] {
		k.set(&l.config, texts)
	}
}

// missing reports the mandatory keys that nobody set.
func (l *loader) missing() {
	for i := range keys {
		k := &keys[i]
		empty := len(k.get(&l.config)) == 0
		if !k.mandatory || l.bad[k.name] || (l.given(k.name) && !empty) {
			continue
		}
		place := l.source() + ": " + k.name
		if l.given(k.name) {
			place = l.origins[k.name].place(k.name)
		}
		l.problem(place, k.name, "missing; set it in the file, as %s or with --set %s=...; allowed: %s",
			k.env(), k.name, k.allowed)
	}
}

func (l *loader) given(key string) bool { _, ok := l.origins[key]; return ok }

// source names the file where no line is to be named.
func (l *loader) source() string {
	if l.path == "" {
		return "configuration"
	}
	return l.path
}

// derive fills in what follows from other keys, and resolves file names.
func (l *loader) derive() {
	c := &l.config
	if c.Node.Site == "" {
		c.Node.Site = c.Node.ID
	}
	l.deriveAdvertise("node", c.Node.Listen, &c.Node.Advertise)
	l.deriveAdvertise("gossip", c.Gossip.Listen, &c.Gossip.Advertise)
	if c.HTTP.Advertise == "" {
		var host HostPort
		l.deriveAdvertise("http", c.HTTP.Listen, &host)
		scheme := "http://"
		if c.HTTP.Cert != "" {
			scheme = "https://"
		}
		c.HTTP.Advertise = scheme + string(host)
	}
	l.resolve(filepath.Dir(l.path)) // "." without a file
}

// resolve makes relative file names begin at dir.
func (l *loader) resolve(dir string) {
	c := &l.config
	for i := range keys {
		k := &keys[i]
		if k.file == notAFile || l.bad[k.name] {
			continue
		}
		texts := k.get(c)
		for j, name := range texts {
			if name != "" && !filepath.IsAbs(name) {
				texts[j] = filepath.Join(dir, name)
			}
		}
		k.set(c, texts)
	}
}

// deriveAdvertise makes the advertised address of a section the one it listens on, which must be one address then.
func (l *loader) deriveAdvertise(section string, listen HostPort, advertise *HostPort) {
	listenKey, key := section+".listen", section+".advertise"
	if l.bad[listenKey] {
		l.bad[key] = true
	}
	if *advertise != "" || l.bad[key] {
		return
	}
	if listen.unspecified() {
		l.problem(l.origins[listenKey].place(listenKey), key,
			"listens on every address (%s), so %s must say at which one others reach it", listen, key)
		return
	}
	*advertise = listen
}
