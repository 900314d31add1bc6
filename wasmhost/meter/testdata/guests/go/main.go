//go:build wasip1

// Real code of Go's library for the meter's tests and benchmarks: each export
// takes how often to do its work and returns a checksum.
package main

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"regexp"
	"slices"
	"strings"
	"text/template"
)

func main() {}

func sum(b []byte) uint32 { return crc32.ChecksumIEEE(b) }

type order struct {
	ID    int               `json:"id"`
	Name  string            `json:"name"`
	Price float64           `json:"price"`
	Tags  []string          `json:"tags"`
	Extra map[string]string `json:"extra,omitempty"`
}

func orders(n int) []order {
	list := make([]order, n)
	for i := range list {
		list[i] = order{i, fmt.Sprintf("order %d", i), float64(i) * 1.25, []string{"a", "b\n", "ü"}, map[string]string{"k": "v"}}
	}
	return list
}

//go:wasmexport json
func jsonRounds(n uint32) (out uint32) {
	text, _ := json.Marshal(orders(20))
	for range n {
		var list []order
		if err := json.Unmarshal(text, &list); err != nil {
			return 0
		}
		again, _ := json.Marshal(list)
		out = out*31 + sum(again)
	}
	return out
}

//go:wasmexport regexp
func regexpRounds(n uint32) (out uint32) {
	address := regexp.MustCompile(`(?i)([a-z0-9._]+)@([a-z0-9-]+\.)+[a-z]{2,}`)
	text := strings.Repeat("write to Ada.Lovelace@example.com, or not at all; ", 20)
	for range n {
		out = out*31 + sum([]byte(address.ReplaceAllString(text, "<$1>")))
	}
	return out
}

//go:wasmexport template
func templateRounds(n uint32) (out uint32) {
	page := template.Must(template.New("page").Parse(
		`{{range $i, $o := .}}{{if $i}}, {{end}}{{.Name | printf "%q"}} costs {{printf "%.2f" .Price}}{{range .Tags}} {{.}}{{end}}{{end}}`))
	list := orders(20)
	for range n {
		var b strings.Builder
		if err := page.Execute(&b, list); err != nil {
			return 0
		}
		out = out*31 + sum([]byte(b.String()))
	}
	return out
}

//go:wasmexport sort
func sortRounds(n uint32) (out uint32) {
	x := uint32(7)
	words := make([]string, 500)
	for range n {
		for i := range words {
			x = x*1664525 + 1013904223
			words[i] = fmt.Sprint(x >> 8)
		}
		slices.Sort(words)
		out = out*31 + sum([]byte(words[len(words)/2]))
	}
	return out
}
