// Package version says which caxton this is. It is not a place for build
// settings: what it reports is the release constant and what the Go linker
// recorded by itself, so nothing has to be passed to the build.
//
// Test it with "go test ./internal/version".
package version

import "runtime/debug"

// Release is the version of the source tree (SemVer 2.0.0, without "v").
const Release = "0.1.0"

// Build identifies a binary. Fields that were not recorded are empty.
type Build struct {
	Version  string `json:"version"`            // Release
	Commit   string `json:"commit,omitempty"`   // full hash; "-dirty" when the tree had changes
	BuiltAt  string `json:"built_at,omitempty"` // time of the commit, RFC 3339
	Go       string `json:"go"`                 // toolchain, as "go1.26"
	Platform string `json:"platform,omitempty"` // as "linux/amd64"
}

// Current identifies the running binary.
func Current() Build {
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return Build{Version: Release}
	}
	return describe(bi)
}

func describe(bi *debug.BuildInfo) Build {
	set := make(map[string]string, len(bi.Settings))
	for _, s := range bi.Settings {
		set[s.Key] = s.Value
	}
	b := Build{Version: Release, Go: bi.GoVersion, Commit: set["vcs.revision"], BuiltAt: set["vcs.time"]}
	if b.Commit != "" && set["vcs.modified"] == "true" {
		b.Commit += "-dirty"
	}
	if set["GOOS"] != "" {
		b.Platform = set["GOOS"] + "/" + set["GOARCH"]
	}
	return b
}

// String returns "caxton 0.1.0 (commit 0123456789ab, go1.26, linux/amd64)",
// without what is not known.
func (b Build) String() string {
	s := "caxton " + b.Version
	var parts []string
	if b.Commit != "" {
		parts = append(parts, "commit "+shorten(b.Commit))
	}
	if b.Go != "" {
		parts = append(parts, b.Go)
	}
	if b.Platform != "" {
		parts = append(parts, b.Platform)
	}
	for i, p := range parts {
		if i == 0 {
			s += " (" + p
		} else {
			s += ", " + p
		}
	}
	if len(parts) > 0 {
		s += ")"
	}
	return s
}

// shorten keeps 12 hex digits of a hash and the mark of a changed tree.
func shorten(commit string) string {
	const keep = 12
	if len(commit) < 40 {
		return commit
	}
	return commit[:keep] + commit[40:]
}
