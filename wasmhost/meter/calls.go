package meter

// calls is what a body calls: functions by index, often more than once, in
// module.callees from here to there, and whether it calls by call_indirect too.
type calls struct {
	from, to int
	indirect bool
}

// callGraph tells for each defined function whether it lies on a cycle of the
// call graph. Only those count call depth: a function off every cycle is on the
// stack once at most, and longestChain says how much of them there can be.
//
// A call_indirect may reach every function that the module takes a reference
// of; those edges go through one extra node. Host functions never call back.
func (m *module) callGraph() *graph {
	n := len(m.bodies)
	g := &graph{edges: make([][]int32, n+1), recursive: make([]bool, n+1)}
	// All edges in one slice: modules have tens of thousands.
	all := make([]int32, 0, len(m.reachable)+len(m.callees)+n)
	node := func(i int, callees []uint32, indirect bool) {
		from := len(all)
		for _, f := range callees {
			if to := int(f) - m.importedFunc; to >= 0 { // not an import
				g.recursive[i] = g.recursive[i] || to == i
				all = append(all, int32(to))
			}
		}
		if indirect {
			all = append(all, int32(n))
		}
		g.edges[i] = all[from:len(all):len(all)]
	}
	node(n, m.reachable, false)
	for i, c := range m.calls {
		node(i, m.callees[c.from:c.to], c.indirect)
	}
	g.find()
	return g
}

// graph finds the nodes on cycles with Tarjan's algorithm for strongly
// connected components (SIAM J. Comput. 1(2), 1972), without recursion: the
// module decides how deep it would go.
type graph struct {
	edges     [][]int32
	recursive []bool
	order     []int32 // all nodes, callees first, component by component
	ends      []int   // in order, of each component

	index, low []int32 // 0: not visited
	next       []int32 // edge to look at
	onStack    []bool
	stack      []int32
	counter    int32
}

func (g *graph) find() {
	n := len(g.edges)
	g.index, g.low, g.next = make([]int32, n), make([]int32, n), make([]int32, n)
	g.onStack = make([]bool, n)
	var path []int32
	for root := range n {
		if g.index[root] != 0 {
			continue
		}
		path = append(path[:0], int32(root))
		for len(path) > 0 {
			v := path[len(path)-1]
			if w, ok := g.step(v); ok {
				path = append(path, w)
				continue
			}
			path = path[:len(path)-1]
			if len(path) > 0 {
				u := path[len(path)-1]
				g.low[u] = min(g.low[u], g.low[v])
			}
			if g.low[v] == g.index[v] {
				g.component(v)
			}
		}
	}
}

// step visits v, or goes on with its edges; it returns the next unvisited
// successor.
func (g *graph) step(v int32) (w int32, ok bool) {
	if g.index[v] == 0 {
		g.counter++
		g.index[v], g.low[v] = g.counter, g.counter
		g.stack = append(g.stack, v)
		g.onStack[v] = true
	}
	for int(g.next[v]) < len(g.edges[v]) {
		w := g.edges[v][g.next[v]]
		g.next[v]++
		switch {
		case g.index[w] == 0:
			return w, true
		case g.onStack[w]:
			g.low[v] = min(g.low[v], g.index[w])
		}
	}
	return 0, false
}

// component pops the component whose root is v.
func (g *graph) component(v int32) {
	k := len(g.stack) - 1
	for g.stack[k] != v {
		k--
	}
	members := g.stack[k:]
	for _, w := range members {
		g.onStack[w] = false
		if len(members) > 1 {
			g.recursive[w] = true
		}
	}
	g.order = append(g.order, members...)
	g.ends = append(g.ends, len(g.order))
	g.stack = g.stack[:k]
}

// longestChain returns the most that functions which are not recursive can weigh
// on one stack: each is on it once at most. The node of indirect calls has no
// weight.
func (g *graph) longestChain(weights []int64) (longest int64) {
	chain := make([]int64, len(g.edges))
	from := 0
	for _, end := range g.ends {
		members := g.order[from:end]
		from = end
		var below int64
		for _, v := range members {
			for _, w := range g.edges[v] {
				below = max(below, chain[w]) // 0 within the component
			}
		}
		if v := members[0]; !g.recursive[v] && int(v) < len(weights) {
			below += weights[v]
		}
		for _, v := range members {
			chain[v] = below
		}
		longest = max(longest, below)
	}
	return longest
}
