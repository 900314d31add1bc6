package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/caxton-run/caxton/events"
	"github.com/caxton-run/caxton/wasmhost"
)

// notWasm is what to do about a file that is no module.
const notWasm = "the file must be a whole WebAssembly binary, which begins with \\0asm: build it anew, or look whether it was cut short"

// refusal says of a module that cannot be tried why, and what its author can do.
func refusal(file string, err error) error {
	var (
		refused *events.RefusedError
		start   *wasmhost.InitError
	)
	switch {
	case errors.As(err, &refused):
		return &failure{text: fmt.Sprintf("%s is refused: %s: %s", file, refused.Rule, refused.Detail), next: ruleAdvice(refused.Rule)}
	case errors.Is(err, events.ErrInvalidWasm):
		return &failure{text: fmt.Sprintf("%s: %s", file, err), next: notWasm}
	case errors.As(err, &start):
		next := outcomeAdvice(start.Status)
		if start.Status == events.OutcomeMemoryLimit {
			next = "give it more with --max-memory, or let it begin with less"
		}
		return &failure{text: fmt.Sprintf("%s does not start: %s: %s", file, start.Status, start.Detail), next: next}
	}
	return err
}

// ruleAdvice is what an author can do about a rule of the gate.
func ruleAdvice(rule string) string {
	switch rule {
	case "unknown_import":
		return "build it without files, network, threads and browser glue (wasm-bindgen, Emscripten); docs/agents.md lists what there is to import"
	case "import_signature":
		return "declare the import as docs/agents.md does, or use an SDK of \"caxton agent init\""
	case "module_too_large":
		return "strip it (Go: -ldflags='-s -w', Rust: -C strip=symbols), or let the server take more: runtime.max_module_bytes"
	case "function_too_large", "nested_too_deep", "too_many_locals", "too_many_branches", "branch_table_too_large", "frame_too_large":
		return "build it for size (-Os, opt-level=s, wasm-opt -Oz), or split that function"
	case "shared_memory", "too_many_memories":
		return "build it without threads, with one memory"
	case "memory_too_large":
		return "let it begin with less memory; it may grow up to the agent's limit"
	case "reserved_export":
		return "names that begin like this are the host's: rename the export"
	case "unsupported_feature":
		return "build it for WebAssembly 2.0 without that feature"
	case "compile_timeout", "compile_memory":
		return "the module is too hard on the compiler: build it for size, or let the server give it more (runtime.compile)"
	}
	return "docs/agents.md says what a module may be"
}

// outcomeAdvice is what an author can do about an outcome.
func outcomeAdvice(o events.OutcomeStatus) string {
	switch o {
	case events.OutcomeOutOfFuel:
		return "does it loop for ever? if not, give it more with --max-fuel"
	case events.OutcomeMemoryLimit:
		return "does it give memory back? if it does, give it more with --max-memory"
	case events.OutcomeTimeout:
		return "does it wait for something? nothing comes from outside while it runs; else give it more with --max-time"
	case events.OutcomeStackOverflow:
		return "it calls itself too deep: use a loop, or a list of what remains to be done"
	case events.OutcomeRefused:
		return "caxton_handle returned a status other than 0: the agent does not want this message"
	case events.OutcomeBadABI, events.OutcomeNoHandler:
		return "export memory, caxton_alloc and caxton_handle; the SDKs of \"caxton agent init\" do it"
	case events.OutcomeExpired:
		return "the message's reply_by had passed; send it again with a later one, or without"
	case events.OutcomeEffectsTooLarge:
		return "send and store less for one message; docs/agents.md has the limits"
	case events.OutcomeTrap:
		return "the guest stopped itself: a panic, a failed assertion, a division by 0, or memory that is not there"
	}
	return ""
}

// failureAdvice reads the outcome that caxton's own failures name in their code.
// What an agent says of itself has none.
func failureAdvice(content []byte) string {
	var said struct {
		Code events.OutcomeStatus `json:"code"`
	}
	if json.Unmarshal(content, &said) != nil {
		return ""
	}
	return outcomeAdvice(said.Code)
}
