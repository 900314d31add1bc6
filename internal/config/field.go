package config

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// field is one key: where its value goes.
type field struct{ v reflect.Value }

// fieldsOf returns all keys of c. The values are c's own.
func fieldsOf(c *Config) map[string]field {
	fields := make(map[string]field)
	collect(fields, "", reflect.ValueOf(c).Elem())
	return fields
}

func collect(fields map[string]field, prefix string, v reflect.Value) {
	for i := range v.NumField() {
		key := prefix + v.Type().Field(i).Tag.Get("key")
		if v.Field(i).Kind() == reflect.Struct {
			collect(fields, key+delim, v.Field(i))
			continue
		}
		fields[key] = field{v.Field(i)}
	}
}

// set stores a value as a file, the environment or a flag gives it: a scalar of
// YAML, a list of them, or a string.
func (f field) set(raw any) error {
	if f.v.Kind() == reflect.Slice {
		list, err := texts(raw)
		if err == nil {
			f.v.Set(reflect.ValueOf(list))
		}
		return err
	}
	switch raw.(type) {
	case map[string]any, []any, nil:
		return errors.New("must be one value")
	}
	return f.parse(fmt.Sprint(raw))
}

func (f field) parse(text string) error {
	switch p := f.v.Addr().Interface().(type) {
	case *Bytes:
		n, err := ParseBytes(text)
		*p = n
		return err
	case *time.Duration:
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf("must be a duration such as 500ms or 1m30s, got %q", text)
		}
		*p = d
	case *string:
		*p = text
	case *bool:
		b, err := strconv.ParseBool(text)
		if err != nil {
			return fmt.Errorf("must be true or false, got %q", text)
		}
		*p = b
	case *int:
		n, err := strconv.Atoi(text)
		if err != nil {
			return fmt.Errorf("must be a whole number, got %q", text)
		}
		*p = n
	case *uint64:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return fmt.Errorf("must be a whole number from 0, got %q", text)
		}
		*p = n
	default:
		return fmt.Errorf("has type %s, which no rule reads", f.v.Type())
	}
	return nil
}

// texts reads a list; a string is split at commas.
func texts(raw any) ([]string, error) {
	switch raw := raw.(type) {
	case []any:
		list := make([]string, 0, len(raw))
		for _, x := range raw {
			switch x.(type) {
			case map[string]any, []any, nil:
				return nil, errors.New("must be a list of values")
			}
			list = append(list, fmt.Sprint(x))
		}
		return list, nil
	case string:
		var list []string
		for part := range strings.SplitSeq(raw, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	}
	return nil, errors.New("must be a list")
}

func mapKeys(fields map[string]field) iter.Seq[string] { return maps.Keys(fields) }

// suggest names the key that was probably meant.
func suggest(key string, fields map[string]field) string {
	best := Nearest(key, slices.Sorted(mapKeys(fields)))
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}
