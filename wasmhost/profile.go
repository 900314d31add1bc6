package wasmhost

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/caxton-run/caxton/events"
)

// A profile says in which of a guest's functions its fuel went. It is taken by
// instances of a module that was compiled for it (CompileProfiled): the metered
// code is the same and so is the fuel, but the engine tells of every function
// that is entered and left. Code that is not compiled for it has nothing of this,
// not even a branch.

// Profile is where fuel went, from one TakeProfile to the next.
type Profile struct {
	Samples []ProfileSample // each stack once, those with most fuel first
	// Truncated says that there were more than maxProfileNodes stacks: fuel of
	// those beyond stands at the innermost function that had room.
	Truncated bool
}

// ProfileSample is the fuel of one stack of functions.
type ProfileSample struct {
	// Stack names the guest's functions, innermost first: from its name section,
	// else as it is exported, else "func[n]" with the number in the module as it
	// was uploaded. A function that calls itself stands there once.
	Stack []string
	Calls uint64      // of the innermost function
	Fuel  events.Fuel // of the innermost function itself, with the host functions that it called
}

// FunctionFuel is the fuel of one function, whoever called it.
type FunctionFuel struct {
	Name  string
	Calls uint64
	Self  events.Fuel // its own, with the host functions that it called
	Total events.Fuel // with what it called
}

// Fuel is the sum of all samples: all that the guest used.
func (p Profile) Fuel() (sum events.Fuel) {
	for _, s := range p.Samples {
		sum += s.Fuel
	}
	return sum
}

// Functions returns the profile by function, most fuel of its own first.
func (p Profile) Functions() []FunctionFuel {
	index := make(map[string]int)
	var list []FunctionFuel
	at := func(name string) *FunctionFuel {
		i, ok := index[name]
		if !ok {
			i = len(list)
			index[name] = i
			list = append(list, FunctionFuel{Name: name})
		}
		return &list[i]
	}
	for _, s := range p.Samples {
		leaf := at(s.Stack[0])
		leaf.Calls += s.Calls
		leaf.Self += s.Fuel
		for i, name := range s.Stack {
			if !slices.Contains(s.Stack[:i], name) { // once, however often it is on the stack
				at(name).Total += s.Fuel
			}
		}
	}
	slices.SortFunc(list, func(a, b FunctionFuel) int {
		return cmp.Or(cmp.Compare(b.Self, a.Self), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// CompileProfiled is Compile for instances that take profiles: the same module,
// compiled a second time, whose calls are several times slower and use the same
// fuel. Snapshots of one are good for the other.
func (h *Host) CompileProfiled(ctx context.Context, wasm []byte) (*Module, error) {
	return h.compile(ctx, moduleKey{events.HashModule(wasm), true}, given(wasm))
}

// TakeProfile returns where the fuel of the calls since the last TakeProfile (or
// since the instance was made) went, and begins anew. It is empty for an instance
// of a module that Compile made. Like Handle it is for the instance's owner.
func (in *Instance) TakeProfile() Profile {
	p := in.profile
	if p == nil {
		return Profile{}
	}
	taken := Profile{Truncated: p.truncated}
	for i := range p.nodes {
		if n := &p.nodes[i]; n.calls > 0 || n.fuel > 0 {
			taken.Samples = append(taken.Samples, ProfileSample{Stack: p.stackOf(int32(i)), Calls: n.calls, Fuel: events.Fuel(n.fuel)})
		}
	}
	slices.SortStableFunc(taken.Samples, func(a, b ProfileSample) int { return cmp.Compare(b.Fuel, a.Fuel) })
	*p = profile{}
	return taken
}

// maxProfileNodes bounds a profile: 100 bytes each. Real guests have hundreds.
const maxProfileNodes = 16_384

// profile is a tree of stacks. Its zero value is empty.
type profile struct {
	nodes     []profileNode
	children  map[profileEdge]int32
	frames    []int32 // nodes of the functions that run, outermost first
	last      int64   // fuel that the call had used when it was charged last
	truncated bool
}

type profileNode struct {
	parent int32 // -1: called by the host
	name   string
	calls  uint64
	fuel   int64
}

type profileEdge struct {
	parent   int32
	function uint32
}

const noNode = -1

func (p *profile) top() int32 {
	if len(p.frames) == 0 {
		return noNode
	}
	return p.frames[len(p.frames)-1]
}

// charge gives the fuel since the last charge to the function that runs.
func (p *profile) charge(used int64) {
	if i := p.top(); i != noNode {
		p.nodes[i].fuel += used - p.last
	}
	p.last = used
}

func (p *profile) enter(def api.FunctionDefinition, used int64) {
	if len(p.frames) == 0 && used < p.last {
		p.last = 0 // another call, which counts from 0
	}
	p.charge(used)
	i := p.child(p.top(), def)
	p.nodes[i].calls++
	p.frames = append(p.frames, i)
}

func (p *profile) leave(used int64) {
	p.charge(used)
	if n := len(p.frames); n > 0 {
		p.frames = p.frames[:n-1]
	}
}

// child returns the node of a function under another's. Direct recursion is one
// node, or a recursive guest would have as many as it is deep.
func (p *profile) child(parent int32, def api.FunctionDefinition) int32 {
	edge := profileEdge{parent, def.Index()}
	if i, ok := p.children[edge]; ok {
		return i
	}
	name := functionName(def)
	if parent != noNode && p.nodes[parent].name == name {
		return parent
	}
	if len(p.nodes) >= maxProfileNodes && parent != noNode {
		p.truncated = true
		return parent
	}
	if p.children == nil {
		p.children = make(map[profileEdge]int32)
	}
	i := int32(len(p.nodes))
	p.nodes = append(p.nodes, profileNode{parent: parent, name: name})
	p.children[edge] = i
	return i
}

func (p *profile) stackOf(i int32) (stack []string) {
	for ; i != noNode; i = p.nodes[i].parent {
		stack = append(stack, p.nodes[i].name)
	}
	return stack
}

// functionName is what a person calls a guest's function. The meter added one
// function before all defined ones.
func functionName(def api.FunctionDefinition) string {
	if name := def.Name(); name != "" {
		return name
	}
	if names := def.ExportNames(); len(names) > 0 {
		return names[0]
	}
	return fmt.Sprintf("func[%d]", def.Index()-1)
}

// listener hears of every function that a profiled guest enters and leaves. It
// finds the guest by the context that calls are made with.
type listener struct {
	added uint32 // the first function that the meter added behind the guest's
}

var (
	_ experimental.FunctionListenerFactory = listener{}
	_ experimental.FunctionListener        = listener{}
)

// NewFunctionListener implements experimental.FunctionListenerFactory. What the meter
// added belongs to the function that calls it. It is told by its number: a guest may give
// its functions any name.
func (l listener) NewFunctionListener(def api.FunctionDefinition) experimental.FunctionListener {
	if def.Index() >= l.added {
		return nil
	}
	return l
}

// Before implements experimental.FunctionListener.
func (listener) Before(ctx context.Context, _ api.Module, def api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	in := ctx.(*guestContext).in
	in.profile.enter(def, in.burnt())
}

// After implements experimental.FunctionListener.
func (listener) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	in := ctx.(*guestContext).in
	in.profile.leave(in.burnt())
}

// Abort implements experimental.FunctionListener.
func (listener) Abort(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ error) {
	in := ctx.(*guestContext).in
	used, _ := in.used()
	in.profile.leave(max(int64(used), in.profile.last))
}

// burnt is what used returns while the guest runs: exact wherever it calls or
// returns, because the meter's global is up to date there.
func (in *Instance) burnt() int64 { return in.call.granted - int64(in.fuel.Get()) }
