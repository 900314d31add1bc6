package meter

import (
	"context"
	"encoding/binary"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// nativeFrames compiles a module and reads from the machine code what each of
// its functions asks of the stack before it begins: frame, and room for its
// largest call. profiled compiles it with listeners.
func nativeFrames(t testing.TB, metered []byte, profiled bool) []int {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("reads the machine code of amd64")
	}
	ctx := context.Background()
	dir := t.TempDir()
	cache, err := wazero.NewCompilationCacheWithDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cache.Close(ctx) }()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigCompiler().WithCoreFeatures(api.CoreFeaturesV2|experimental.CoreFeaturesExtendedConst).WithDebugInfoEnabled(false).WithCompilationCache(cache))
	defer func() { _ = rt.Close(ctx) }()
	if profiled {
		ctx = experimental.WithFunctionListenerFactory(ctx, silent{})
	}
	if _, err := rt.CompileModule(ctx, metered); err != nil {
		t.Fatal(err)
	}
	var file []byte
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			file, err = os.ReadFile(path)
		}
		return err
	})
	if err != nil || !strings.HasPrefix(string(file), "WAZEVO") {
		t.Fatal("no compiled code in the engine's directory: ", err)
	}
	file = file[7+int(file[6]):]
	n := int(binary.LittleEndian.Uint32(file))
	offsets, code := file[4:], file[4+8*n+8:]
	frames := make([]int, n)
	for i := range frames {
		frames[i] = stackCheck(t, code[binary.LittleEndian.Uint64(offsets[8*i:]):])
	}
	return frames
}

// stackCheck reads the immediate of the first subtraction from the stack pointer,
// which follows push %rbp; mov %rsp, %rbp.
func stackCheck(t testing.TB, code []byte) int {
	t.Helper()
	switch {
	case strings.HasPrefix(string(code), "\x55\x48\x89\xe5\x48\x83\xec"):
		return int(code[7])
	case strings.HasPrefix(string(code), "\x55\x48\x89\xe5\x48\x81\xec"):
		return int(binary.LittleEndian.Uint32(code[7:]))
	}
	t.Fatalf("a function begins with % x", code[:16])
	return 0
}

// silent listens and does nothing.
type silent struct{}

func (s silent) NewFunctionListener(api.FunctionDefinition) experimental.FunctionListener { return s }
func (silent) Before(context.Context, api.Module, api.FunctionDefinition, []uint64, experimental.StackIterator) {
}
func (silent) After(context.Context, api.Module, api.FunctionDefinition, []uint64) {}
func (silent) Abort(context.Context, api.Module, api.FunctionDefinition, error)    {}
