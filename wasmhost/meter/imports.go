package meter

// allowedImports returns every function that a module may import, with its
// type: "params:results" in the letters i (i32), I (i64) and F (f64). It is a
// function, so that the list cannot change at run time.
func allowedImports(module string) map[string]string {
	switch module {
	case "caxton":
		return caxtonImports()
	case "env":
		list := caxtonImports() // env is an alias: what C and AssemblyScript emit
		list["abort"] = "iiii:"
		list["seed"] = ":F"
		return list
	case "wasi_snapshot_preview1":
		return map[string]string{
			"args_get":            "ii:i",
			"args_sizes_get":      "ii:i",
			"environ_get":         "ii:i",
			"environ_sizes_get":   "ii:i",
			"clock_time_get":      "iIi:i",
			"random_get":          "ii:i",
			"sched_yield":         ":i",
			"proc_exit":           "i:",
			"poll_oneoff":         "iiii:i",
			"fd_close":            "i:i",
			"fd_fdstat_get":       "ii:i",
			"fd_fdstat_set_flags": "ii:i",
			"fd_prestat_get":      "ii:i",
			"fd_prestat_dir_name": "iii:i",
			"fd_read":             "iiii:i",
			"fd_write":            "iiii:i",

			// What Go's library links with text/template, which keeps all methods
			// of os.File. There are no files: the host answers EBADF.
			"fd_filestat_get":      "ii:i",
			"fd_filestat_set_size": "iI:i",
			"fd_pread":             "iiiIi:i",
			"fd_pwrite":            "iiiIi:i",
			"fd_readdir":           "iiiIi:i",
			"fd_seek":              "iIii:i",
			"fd_sync":              "i:i",
			"path_filestat_get":    "iiiii:i",
			"sock_accept":          "iii:i",
			"sock_shutdown":        "ii:i",
		}
	}
	return nil
}

func caxtonImports() map[string]string {
	return map[string]string{
		"reply":               "ii:i",
		"send":                "ii:i",
		"msg_field":           "iiii:i",
		"log":                 "iii:i",
		"now":                 ":I",
		"random":              "ii:i",
		"state_get":           "iiii:i",
		"state_put":           "iiii:i",
		"state_delete":        "ii:i",
		"fuel_left":           ":I",
		"timer_set":           "Iii:I",
		"timer_cancel":        "I:i",
		"register_capability": "ii:i",
	}
}

// checkImports admits nothing but the functions above, each with its type.
func (m *module) checkImports() {
	for _, e := range m.imports {
		if e.kind != kindFunction {
			refuse("unknown_import", "%.80q.%.80q is not a function", e.module, e.name)
		}
		want, ok := allowedImports(e.module)[e.name]
		if !ok {
			refuse("unknown_import", "%.80q.%.80q is not offered", e.module, e.name)
		}
		if got := m.types[e.typ]; compact(got) != want {
			refuse("import_signature", "%.80q.%.80q has type %s", e.module, e.name, got.signature())
		}
	}
}

func compact(t funcType) string {
	return letters(t.params) + ":" + letters(t.results)
}

func letters(types []byte) string {
	out := make([]byte, len(types))
	for i, t := range types {
		switch t {
		case typeI32:
			out[i] = 'i'
		case typeI64:
			out[i] = 'I'
		case typeF64:
			out[i] = 'F'
		default:
			out[i] = '?'
		}
	}
	return string(out)
}
