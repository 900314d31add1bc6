package config

import "testing"

func TestNearest(t *testing.T) {
	known := []string{"max-fuel", "max-memory", "name"}
	for word, want := range map[string]string{
		"max-fule": "max-fuel", "maxmemory": "max-memory", "nmae": "name", "name": "name", "label": "", "x": "", "": "",
	} {
		if got := Nearest(word, known); got != want {
			t.Errorf("nearest to %q is %q, want %q", word, got, want)
		}
	}
}
