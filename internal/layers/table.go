package layers

// Module is the path before every package of the table.
const Module = "github.com/caxton-run/caxton"

// Kind says how the rest of the house uses a package.
type Kind uint8

const (
	// Room is a package of a floor: it imports from the floors below its own.
	Room Kind = iota
	// Support is imported wherever it is needed and imports only events.
	Support
	// TestOnly exists for tests: nothing but tests and its OnlyFrom import it.
	TestOnly
)

// Row is one package, or, with Tree, a folder of packages.
type Row struct {
	Package    string // below Module
	Floor      int    // from 0; what a TestOnly may import up to, meaningless for Support
	Kind       Kind
	Tree       bool     // the row stands for the packages below it too
	Beside     []string // packages of its own floor that it may import
	OnlyFrom   []string // its only importers outside tests; none means any that the floors allow
	ThirdParty []string // import paths, each with what is below it
	TestParty  []string // the same, for its tests, beside what all tests may import
}

// Third-party modules that stand in more than one row.
const (
	fiber      = "github.com/gofiber/fiber/v2"
	grpc       = "google.golang.org/grpc"
	klauspost  = "github.com/klauspost/compress"
	koanf      = "github.com/knadh/koanf"
	prometheus = "github.com/prometheus/client_golang"
	protoactor = "github.com/asynkron/protoactor-go"
	protobuf   = "google.golang.org/protobuf"
	uuid       = "github.com/google/uuid"
	wazero     = "github.com/tetratelabs/wazero"
	yaml       = "gopkg.in/yaml.v3"
	xsync      = "golang.org/x/sync"
	xsys       = "golang.org/x/sys"
	esdbClient = "github.com/EventStore/EventStore-Client-Go/v4"
)

// Table returns the floors of the house, as the architecture draws them.
func Table() []Row {
	return []Row{
		{Package: "events", Floor: 0},
		{Package: "events/internal/eventdoc", Floor: 0, Kind: TestOnly}, // a command that reads the package's sources and writes docs/events.md

		{Package: "events/pebblestore", Floor: 1,
			ThirdParty: []string{"github.com/cockroachdb/pebble/v2", "github.com/cespare/xxhash/v2", xsys}},
		{Package: "events/raftstore", Floor: 1, Beside: []string{"events/pebblestore"},
			ThirdParty: []string{"github.com/hashicorp/raft", "github.com/hashicorp/raft-wal", "github.com/hashicorp/go-hclog",
				"github.com/cockroachdb/pebble/v2/vfs"},
			TestParty: []string{"github.com/anishathalye/porcupine", xsys}},
		{Package: "events/esdbstore", Floor: 1, ThirdParty: []string{esdbClient}},
		{Package: "events/wire", Floor: 1, ThirdParty: []string{grpc, protobuf, esdbClient}},
		{Package: "events/storetest", Floor: 1, Kind: TestOnly, ThirdParty: testLibraries()},
		{Package: "wasmhost/meter", Floor: 1, TestParty: []string{wazero}},
		{Package: "wasmhost", Floor: 1, Beside: []string{"wasmhost/meter"},
			ThirdParty: []string{wazero, klauspost, xsys}},

		{Package: "actors/agent", Floor: 2},
		{Package: "projections", Floor: 2},

		{Package: "actors/cluster", Floor: 3,
			ThirdParty: []string{protoactor, "github.com/hashicorp/memberlist", grpc, protobuf}},
		{Package: "replay", Floor: 3, ThirdParty: []string{klauspost, xsync}},

		{Package: "actors", Floor: 4, ThirdParty: []string{protoactor, xsync},
			TestParty: []string{"github.com/cockroachdb/pebble/v2/vfs"}}, // the simulation cuts the power of its file system

		{Package: "http", Floor: 5, OnlyFrom: []string{"cmd/caxton"},
			ThirdParty: []string{fiber, "github.com/valyala/fasthttp", prometheus}}, // Fiber's errors are fasthttp's

		{Package: "cmd/caxton", Floor: 6,
			ThirdParty: []string{"github.com/spf13/cobra", "github.com/jedib0t/go-pretty/v6", "github.com/mattn/go-isatty", koanf, yaml, xsync, "github.com/HdrHistogram/hdrhistogram-go"},
			TestParty:  []string{prometheus}},

		{Package: "internal/backup", Kind: Support, ThirdParty: []string{klauspost}},
		{Package: "internal/config", Kind: Support, ThirdParty: []string{koanf, yaml}},
		{Package: "internal/security", Kind: Support},
		{Package: "internal/telemetry", Kind: Support, ThirdParty: []string{prometheus,
			"github.com/lmittmann/tint", "github.com/HdrHistogram/hdrhistogram-go", "github.com/prometheus/procfs"}},
		{Package: "internal/version", Kind: Support},

		{Package: "internal/harness", Floor: 5, Kind: TestOnly},
		{Package: "internal/layers", Floor: 0, Kind: TestOnly},
		{Package: "fixtures", Floor: 1, Kind: TestOnly, Tree: true, OnlyFrom: []string{"cmd/caxton"},
			TestParty: []string{wazero, yaml}},
	}
}

// everywhere lists what any package may import: an identifier is not a
// dependency that could leak.
func everywhere() []string { return []string{uuid} }

// testLibraries lists what any test may import.
func testLibraries() []string {
	return []string{
		"go.uber.org/goleak", "github.com/google/go-cmp", "pgregory.net/rapid",
		"github.com/rogpeppe/go-internal", "github.com/HdrHistogram/hdrhistogram-go",
	}
}

// Folders lists what may stand at the top of the module.
func Folders() []string {
	return []string{
		"actors", "events", "projections", "wasmhost", "http", "cmd", "replay", "fixtures",
		"internal", "docs", ".ci",
	}
}

// leftovers lists what tools leave at the top of a developer's copy and nobody
// commits.
func leftovers() []string {
	return []string{".git", ".bin", ".task", ".idea", ".vscode", "caxton-data"}
}
