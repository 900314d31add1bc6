// Package config reads a server's configuration: defaults, then a YAML file,
// then the environment, then flags; what comes later wins.
//
// It knows keys, types and bounds. What a value does is the affair of the
// package it is given to, which checks it again with the parts it makes.
//
// Guarantees: a key that does not exist is an error that suggests the nearest
// one; a value of the wrong type or out of bounds is an error that names key,
// value, bound and origin; all faults come at once.
//
// Test it with "go test ./internal/config".
package config
