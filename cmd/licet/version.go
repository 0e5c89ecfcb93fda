package main

import (
	"runtime"
	"runtime/debug"

	"github.com/urfave/cli/v2"
)

// release is the version of a released program; the linker may set another.
var release = "0.1.0-dev"

// version is the program's version, with the commit that it was built from if that is known.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return release
	}
	commit, modified := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			commit = "+" + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			modified = ".modified"
		}
	}
	if commit == "" {
		return release
	}
	return release + commit + modified
}

func versionCommand(streams Streams) *cli.Command {
	return verb{name: "version", usage: "say which version this is", run: func(s *session) error {
		about := struct {
			Version string `json:"version"`
			Go      string `json:"go"`
			System  string `json:"system"`
		}{version(), runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH}
		return s.printOwn(about, func(p *page) { p.line("licet %s (%s, %s)", about.Version, about.Go, about.System) })
	}}.command(streams)
}
