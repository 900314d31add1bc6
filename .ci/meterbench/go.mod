// Benchmarks of metering beside another engine's, apart from what the product
// links: wasmtime comes with 50 MB of library and needs cgo.
module github.com/caxton-run/caxton/.ci/meterbench

go 1.26.0

require (
	github.com/bytecodealliance/wasmtime-go/v37 v37.0.0
	github.com/caxton-run/caxton v0.0.0
	github.com/tetratelabs/wazero v1.12.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)

replace github.com/caxton-run/caxton => ../..
