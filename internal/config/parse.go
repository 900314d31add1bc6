package config

import (
	"errors"
	"fmt"
	"strings"

	"gopkg.in/yaml.v3"
)

// maxFileBytes of a configuration: a person writes it.
const maxFileBytes = 1 << 20

// parse reads a YAML mapping. ${NAME} and ${NAME:-default} in values become what
// the environment holds; $$ is a dollar sign. A value is put in after parsing,
// so that it cannot change the document's structure.
func parse(text []byte, environ []string) (map[string]any, error) {
	if len(text) > maxFileBytes {
		return nil, fmt.Errorf("is larger than %d bytes", maxFileBytes)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	if doc.Kind == 0 {
		return nil, nil // empty, or comments only
	}
	if err := expandAll(&doc, lookup(environ)); err != nil {
		return nil, err
	}
	var tree map[string]any
	if err := doc.Decode(&tree); err != nil {
		return nil, err
	}
	return tree, nil
}

func lookup(environ []string) func(string) (string, bool) {
	vars := make(map[string]string, len(environ))
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		vars[name] = value
	}
	return func(name string) (string, bool) { v, ok := vars[name]; return v, ok }
}

func expandAll(n *yaml.Node, get func(string) (string, bool)) error {
	if n.Kind == yaml.ScalarNode && strings.Contains(n.Value, "$") {
		v, err := expand(n.Value, get)
		if err != nil {
			return fmt.Errorf("line %d: %w", n.Line, err)
		}
		n.Value = v
		if n.Style == 0 {
			n.Tag = "" // ${PORT:-8080} is a number again
		}
	}
	for _, c := range n.Content {
		if err := expandAll(c, get); err != nil {
			return err
		}
	}
	return nil
}

func expand(s string, get func(string) (string, bool)) (string, error) {
	var out strings.Builder
	for {
		before, after, found := strings.Cut(s, "$")
		out.WriteString(before)
		switch {
		case !found:
			return out.String(), nil
		case strings.HasPrefix(after, "$"):
			out.WriteByte('$')
			s = after[1:]
		case strings.HasPrefix(after, "{"):
			inner, rest, ok := strings.Cut(after[1:], "}")
			if !ok {
				return "", errors.New("${ without }")
			}
			name, otherwise, hasDefault := strings.Cut(inner, ":-")
			v, set := get(name)
			switch {
			case v == "" && hasDefault:
				v = otherwise
			case !set:
				return "", fmt.Errorf("the environment has no %q, and ${%s} names no default", name, inner)
			}
			out.WriteString(v)
			s = rest
		default:
			out.WriteByte('$')
			s = after
		}
	}
}
