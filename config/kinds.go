package config

import (
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// kind reads and writes the values of a key. All text is as it stands in any source: the three share one grammar.
type kind struct {
	allowed   string
	list      bool
	max       int // items of a list
	file      fileKind
	canonical func(text string) (string, bool)     // checks one value (an item, in a list)
	set       func(c *Config, canonical []string)  // one text, or a list's items
	get       func(c *Config) (canonical []string) // the inverse
}

// fileKind tells what a value that names a file is good for.
type fileKind int

const (
	notAFile   fileKind = iota
	publicFile          // a file that anybody may read
	secretFile          // a file for its owner's eyes
	directory           // made when absent
)

// one makes the kind of a single value of type T.
func one[T any](at func(*Config) *T, parse func(string) (T, bool), format func(T) string, allowed string) kind {
	return kind{
		allowed:   allowed,
		canonical: canonical(parse, format),
		set:       func(c *Config, texts []string) { *at(c), _ = parse(texts[0]) },
		get:       func(c *Config) []string { return []string{format(*at(c))} },
	}
}

// many makes the kind of a list of T.
func many[T any](at func(*Config) *[]T, parse func(string) (T, bool), format func(T) string, allowed string, most int) kind {
	return kind{
		allowed:   fmt.Sprintf("a list of at most %d: %s", most, allowed),
		list:      true,
		max:       most,
		canonical: canonical(parse, format),
		set: func(c *Config, texts []string) {
			*at(c) = nil
			for _, text := range texts {
				v, _ := parse(text)
				*at(c) = append(*at(c), v)
			}
		},
		get: func(c *Config) []string {
			var texts []string
			for _, v := range *at(c) {
				texts = append(texts, format(v))
			}
			return texts
		},
	}
}

func canonical[T any](parse func(string) (T, bool), format func(T) string) func(string) (string, bool) {
	return func(text string) (string, bool) {
		v, ok := parse(text)
		if !ok {
			return "", false
		}
		return format(v), true
	}
}

func itself(s string) string { return s }

// optional lets a value be empty.
func optional[T any](parse func(string) (T, bool)) func(string) (T, bool) {
	return func(text string) (T, bool) {
		if text == "" {
			var none T
			return none, true
		}
		return parse(text)
	}
}

func number[T int | uint64](at func(*Config) *T, least, most T, unit string) kind {
	parse := func(text string) (T, bool) {
		// A leading zero would be octal to some YAML readers.
		if len(text) > 1 && text[0] == '0' {
			return 0, false
		}
		n, err := strconv.ParseUint(text, 10, 31)
		return T(n), err == nil && T(n) >= least && T(n) <= most
	}
	format := func(n T) string { return fmt.Sprint(n) }
	return one(at, parse, format, fmt.Sprintf("a whole number from %d to %d (%s)", least, most, unit))
}

// formation takes sizes of which each node more survives one failure more.
func formation(at func(*Config) *int) kind {
	parse := func(text string) (int, bool) {
		if !slices.Contains([]string{"1", "3", "5", "7", "9"}, text) {
			return 0, false
		}
		return int(text[0] - '0'), true
	}
	return one(at, parse, strconv.Itoa,
		"1, 3, 5, 7 or 9 (an even number survives no more failures than the odd one below it, and more than 9 only slow every write)")
}

func duration(at func(*Config) *time.Duration, least, most time.Duration) kind {
	parse := func(text string) (time.Duration, bool) {
		d, err := time.ParseDuration(text)
		return d, err == nil && d >= least && d <= most
	}
	return one(at, parse, formatDuration,
		fmt.Sprintf("a duration with its unit (ms, s, m, h), from %s to %s", formatDuration(least), formatDuration(most)))
}

// formatDuration leaves out the zeros that time.Duration writes at the end: 1m instead of 1m0s.
func formatDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// ByteSize is a number of bytes.
type ByteSize int64

var byteUnits = []struct {
	name  string
	bytes ByteSize
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

// String writes the size in the largest unit that needs no fraction, such as "1 MiB".
func (b ByteSize) String() string {
	for _, u := range byteUnits {
		if b != 0 && b%u.bytes == 0 {
			return fmt.Sprintf("%d %s", b/u.bytes, u.name)
		}
	}
	return "0 B"
}

func parseSize(text string) (ByteSize, bool) {
	unit := ByteSize(1)
	for _, u := range byteUnits {
		if digits, ok := strings.CutSuffix(text, u.name); ok {
			text, unit = strings.TrimSuffix(digits, " "), u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(text, 10, 63)
	return ByteSize(n) * unit, err == nil && n <= uint64(math.MaxInt64/unit) && (len(text) == 1 || text[0] != '0') //nolint:gosec // G115: it was held to its bounds when it was read
}

func size(at func(*Config) *ByteSize, least, most ByteSize) kind {
	parse := func(text string) (ByteSize, bool) {
		b, ok := parseSize(text)
		return b, ok && b >= least && b <= most
	}
	units := "KiB or MiB"
	if most >= 1<<30 {
		units = "KiB, MiB or GiB"
	}
	return one(at, parse, ByteSize.String, fmt.Sprintf("bytes, or a whole number of %s, from %s to %s", units, least, most))
}

// durationOrNever also takes no time at all.
func durationOrNever(at func(*Config) *time.Duration, least, most time.Duration) kind {
	parse := func(text string) (time.Duration, bool) {
		d, err := time.ParseDuration(text)
		return d, err == nil && (d == 0 || d >= least && d <= most)
	}
	return one(at, parse, formatDuration,
		fmt.Sprintf("0s, or a duration with its unit (ms, s, m, h), from %s to %s", formatDuration(least), formatDuration(most)))
}

func choice(at func(*Config) *string, words ...string) kind {
	parse := func(text string) (string, bool) { return text, slices.Contains(words, text) }
	last := len(words) - 1
	return one(at, parse, itself, strings.Join(words[:last], ", ")+" or "+words[last])
}

func truth(at func(*Config) *bool) kind {
	parse := func(text string) (bool, bool) { return text == "true", text == "true" || text == "false" }
	return one(at, parse, strconv.FormatBool, "true or false")
}

const nameAllowed = "1 to 63 of a-z, 0-9 and -, not beginning with -"

func parseName(text string) (string, bool) {
	inner := func(r rune) bool { return r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' }
	bad := func(r rune) bool { return !inner(r) }
	return text, len(text) >= 1 && len(text) <= 63 && text[0] != '-' && !strings.ContainsFunc(text, bad)
}

func nodeName(at func(*Config) *string, empty bool) kind {
	parse := parseName
	if empty {
		parse = optional(parse)
	}
	return one(at, parse, itself, nameAllowed)
}

const fileAllowed = "a file's name of 1 to 4096 bytes, without control characters, outer spaces or a leading ~"

func parsePath(text string) (string, bool) {
	ok := text != "" && len(text) <= 4096 && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) &&
		strings.TrimSpace(text) == text && text[0] != '~' && !strings.Contains(text, "-----BEGIN")
	return filepath.Clean(text), ok
}

func fileName(at func(*Config) *string, file fileKind, empty bool) kind {
	parse := parsePath
	if empty {
		parse = optional(parse)
	}
	k := one(at, parse, itself, fileAllowed)
	k.file = file
	return k
}

func fileNames(at func(*Config) *[]string, most int) kind {
	k := many(at, parsePath, itself, fileAllowed, most)
	k.file = publicFile
	return k
}

func baseURL(at func(*Config) *string) kind {
	parse := func(text string) (string, bool) {
		u, ok := webURL(text)
		if !ok || strings.TrimSuffix(u.Path, "/") != "" {
			return "", false
		}
		return u.Scheme + "://" + u.Host, true
	}
	return one(at, optional(parse), itself, "http:// or https:// with a host and perhaps a port, nothing after it, and not 0.0.0.0 or ::")
}

// webURL takes what a client could ask, its host as [HostPort] writes it.
func webURL(text string) (*url.URL, bool) {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.User != nil || strings.ContainsAny(text, "?#") {
		return nil, false
	}
	hostPort, port := u.Host, u.Port() != ""
	if !port {
		hostPort += ":443" // only to be checked along with the host
	}
	h, ok := parseReachable(hostPort)
	if !port {
		h = HostPort(strings.TrimSuffix(string(h), ":443"))
	}
	u.Host = string(h)
	return u, ok
}

// collector takes the address of whoever takes spans, and gives one without a path that of OTLP.
func collector(at func(*Config) *string) kind {
	parse := func(text string) (string, bool) {
		u, ok := webURL(text)
		if !ok || len(text) > 2048 {
			return "", false
		}
		path := u.EscapedPath()
		if strings.Trim(path, "/") == "" {
			path = "/v1/traces"
		}
		return u.Scheme + "://" + u.Host + path, true
	}
	return one(at, optional(parse), itself, "http:// or https:// with a host, and perhaps a port and a path, and not 0.0.0.0 or ::")
}

// syslog takes the address of a receiver of syslog.
func syslog(at func(*Config) *string) kind {
	parse := func(text string) (string, bool) {
		if path, local := strings.CutPrefix(text, "unix://"); local {
			path, ok := parsePath(path)
			return "unix://" + path, ok && path[0] == '/' && !strings.ContainsAny(path, "?#%")
		}
		scheme, host, found := strings.Cut(text, "://")
		h, ok := parseReachable(host)
		return scheme + "://" + h.String(), found && ok && slices.Contains([]string{"tls", "tcp", "udp"}, scheme)
	}
	return one(at, optional(parse), itself, "tls://host:port, tcp://host:port, udp://host:port or unix:///path/of/socket")
}

func ratio(at func(*Config) *float64) kind {
	parse := func(text string) (float64, bool) {
		digits := strings.Trim(text, "0123456789.") == "" && text != "" && len(text) <= 12
		x, err := strconv.ParseFloat(text, 64)
		return x, digits && text[0] != '.' && err == nil && x <= 1
	}
	format := func(x float64) string { return strconv.FormatFloat(x, 'f', -1, 64) }
	return one(at, parse, format, "a number from 0 to 1, such as 0.05")
}

// issuerName keeps a URL as it stands: issuers are compared byte by byte (OpenID Connect Discovery 1.0, section 4.3).
func issuerName(at func(*Config) *string) kind {
	parse := func(text string) (string, bool) {
		_, ok := webURL(text)
		return text, ok && strings.HasPrefix(text, "https://") && len(text) <= 256
	}
	return one(at, optional(parse), itself, "https:// with a host, and perhaps a port and a path, of at most 256 bytes")
}

// claimText takes what a claim of a token can be, or be called.
func claimText(at func(*Config) *string, empty bool) kind {
	if empty {
		return one(at, optional(parseClaim), itself, claimAllowed)
	}
	return one(at, parseClaim, itself, claimAllowed)
}

const claimAllowed = "1 to 256 bytes of text, without control characters or outer spaces"

func parseClaim(text string) (string, bool) {
	return text, text != "" && len(text) <= 256 && utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl) && strings.TrimSpace(text) == text
}

const grantAllowed = "a role, a space and a group (" + claimAllowed + "), such as `operator licet-admins`"

func parseGrant(text string) (string, bool) {
	role, group, _ := strings.Cut(text, " ")
	_, ok := parseClaim(group)
	return text, ok && role != "" && len(role) <= 4096 && strings.Trim(role, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-?=&_.+%~") == ""
}
