package main

import (
	_ "embed"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

//go:embed dev.txt
var devText string

// explain says where the nodes are and plays the Themis example.
func (d *dev) explain() error {
	token, err := os.ReadFile(d.path("token"))
	if err != nil {
		return err
	}
	type node struct{ ID, URL, Log string }
	var nodes []node
	var urls []string
	for i, site := range devSites {
		url := "http://" + d.http(i).String()
		nodes, urls = append(nodes, node{site, url, d.path(site + ".log")}), append(urls, url)
	}
	text, err := template.New("dev").Parse(devText)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	return text.Execute(d.out, map[string]any{
		"Nodes": nodes, "Endpoints": strings.Join(urls, ","), "Token": strings.TrimSpace(string(token)), "Dir": d.dir, "Licet": d.shown(),
	})
}

// shown is how the program is called from where the user is.
func (d *dev) shown() string {
	wd, err := os.Getwd()
	if err != nil {
		return d.program
	}
	relative, err := filepath.Rel(wd, d.program)
	if err != nil || strings.HasPrefix(relative, "..") {
		return d.program
	}
	return "./" + relative
}
