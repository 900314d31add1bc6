package config

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/knadh/koanf/v2"

	"github.com/caxton-run/caxton/events"
)

// delim stands between the parts of a key.
const delim = "."

// envPrefix begins the variables that are read: CAXTON__SERVER__PORT is
// server.port. Other variables that begin with CAXTON_ are not ours to judge:
// Kubernetes makes some of its own.
const envPrefix = "CAXTON__"

// Sources are what Load reads, in this order.
type Sources struct {
	File    string            // path of a YAML file; empty for none
	Environ []string          // as os.Environ gives it
	Flags   map[string]string // by key
}

// Load returns the configuration. All faults of keys and values come as one
// *events.InvalidError; a file that cannot be read or parsed is an error that
// names it.
func Load(src Sources) (Config, error) {
	cfg := Default()
	fields := fieldsOf(&cfg)
	k := koanf.New(delim)
	origin := make(map[string]string)
	var f events.Faults
	if src.File != "" {
		doc, err := readFile(src.File, src.Environ)
		if err != nil {
			return Config{}, err
		}
		f.Merge("", merge(k, origin, src.File, doc, fields))
	}
	f.Merge("", merge(k, origin, "the environment", environment(src.Environ), fields))
	flags := make(map[string]any, len(src.Flags))
	for key, v := range src.Flags {
		flags[key] = v
	}
	f.Merge("", merge(k, origin, "a flag", unflatten(flags), fields))
	for _, key := range slices.Sorted(mapKeys(fields)) {
		if !k.Exists(key) {
			continue
		}
		if err := fields[key].set(k.Get(key)); err != nil {
			f.Add(key, "%s (from %s)", err, origin[key])
		}
	}
	if err := f.Err(); err != nil {
		return Config{}, err
	}
	return cfg, cfg.Validate()
}

// document is a source in koanf's terms.
type document map[string]any

// ReadBytes implements koanf.Provider.
func (document) ReadBytes() ([]byte, error) {
	return nil, errors.New("config: a document is not bytes")
}

// Read implements koanf.Provider.
func (d document) Read() (map[string]any, error) { return d, nil }

// merge lays a source over what was read before. Keys that do not exist are
// faults.
func merge(k *koanf.Koanf, origin map[string]string, name string, doc map[string]any, fields map[string]field) error {
	one := koanf.New(delim)
	if err := one.Load(document(doc), nil); err != nil {
		return fmt.Errorf("read %s: %w", name, err)
	}
	var f events.Faults
	for _, key := range one.Keys() {
		if _, ok := fields[key]; !ok {
			f.Add(key, "is not a key%s (in %s)", suggest(key, fields), name)
			continue
		}
		origin[key] = name
	}
	if err := f.Err(); err != nil {
		return err
	}
	return k.Merge(one)
}

// environment makes a document of the variables that are ours.
func environment(environ []string) map[string]any {
	flat := make(map[string]any)
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if rest, ok := strings.CutPrefix(name, envPrefix); ok {
			flat[strings.ToLower(strings.ReplaceAll(rest, "__", delim))] = value
		}
	}
	return unflatten(flat)
}

// unflatten makes a tree of dotted keys.
func unflatten(flat map[string]any) map[string]any {
	tree := make(map[string]any)
	for key, v := range flat {
		at := tree
		parts := strings.Split(key, delim)
		for _, p := range parts[:len(parts)-1] {
			next, ok := at[p].(map[string]any)
			if !ok {
				next = make(map[string]any)
				at[p] = next
			}
			at = next
		}
		at[parts[len(parts)-1]] = v
	}
	return tree
}

func readFile(path string, environ []string) (map[string]any, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("configuration: %w", err)
	}
	doc, err := parse(text, environ)
	if err != nil {
		return nil, fmt.Errorf("configuration: %s: %w", path, err)
	}
	return doc, nil
}
