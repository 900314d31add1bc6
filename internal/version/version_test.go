package version

import (
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestDescribe(t *testing.T) {
	const hash = "0123456789abcdef0123456789abcdef01234567"
	for _, tc := range []struct {
		name string
		in   debug.BuildInfo
		want Build
		text string
	}{
		{"nothing recorded", debug.BuildInfo{}, Build{Version: Release}, "caxton " + Release},
		{"clean tree", debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: "2026-01-02T03:04:05Z"},
			{Key: "vcs.modified", Value: "false"}, {Key: "GOOS", Value: "linux"}, {Key: "GOARCH", Value: "arm64"},
		}}, Build{Version: Release, Commit: hash, BuiltAt: "2026-01-02T03:04:05Z", Go: "go1.26", Platform: "linux/arm64"},
			"caxton " + Release + " (commit 0123456789ab, go1.26, linux/arm64)"},
		{"changed tree", debug.BuildInfo{GoVersion: "go1.26", Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: hash}, {Key: "vcs.modified", Value: "true"},
		}}, Build{Version: Release, Commit: hash + "-dirty", Go: "go1.26"},
			"caxton " + Release + " (commit 0123456789ab-dirty, go1.26)"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := describe(&tc.in)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
			if got.String() != tc.text {
				t.Errorf("String() = %q, want %q", got, tc.text)
			}
		})
	}
}

func TestCurrentNamesTheToolchain(t *testing.T) {
	if got := Current(); got.Go != runtime.Version() || got.Version != Release {
		t.Errorf("Current() = %+v", got)
	}
}
