package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// port is an address that a node listens on.
type port struct {
	name string
	addr string
	flag string
	key  string // of the configuration
	path string // what a caxton answers there
	sign string // that it is caxton's answer
}

func (d *doctor) apiPort(ctx context.Context) finding {
	return d.port(ctx, port{"REST API port", d.cfg.Server.APIAddr(), "--api-addr", "server.port", "/api/v1/health", `{"status":"healthy"}`})
}

func (d *doctor) metricsPort(ctx context.Context) finding {
	return d.port(ctx, port{"metrics port", d.cfg.Server.MetricsAddr(), "--metrics-addr", "server.metrics_port", "/metrics", "caxton_"})
}

// port listens for a moment, as the server would.
func (d *doctor) port(ctx context.Context, p port) finding {
	f := finding{Check: p.name, Status: checkOK, Measured: p.addr + " is free"}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", p.addr)
	switch {
	case err == nil:
		if strings.HasSuffix(p.addr, ":0") {
			f.Measured = p.addr + ": the system chooses a free one"
		}
		if err := ln.Close(); err != nil {
			f.worse(checkWarn, "try again")
			f.Measured = err.Error()
		}
	case errors.Is(err, syscall.EADDRINUSE):
		f.Measured = fmt.Sprintf("%s is in use by %s", p.addr, owner(d.system, p.addr))
		if p.answers(ctx) {
			f.Measured = fmt.Sprintf("%s: caxton answers (%s)", p.addr, owner(d.system, p.addr))
			break
		}
		f.worse(checkFail, fmt.Sprintf("stop that process, or choose another port: %s, or %s", p.key, p.flag))
	case errors.Is(err, syscall.EACCES):
		f.Measured = p.addr + ": not permitted to listen there"
		f.worse(checkFail, fmt.Sprintf("choose a port above 1023 (%s), or give the process CAP_NET_BIND_SERVICE", p.key))
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		f.Measured = p.addr + ": no interface has this address"
		f.worse(checkFail, "give the server an address of this machine: "+p.flag)
	default:
		f.Measured = err.Error()
		f.worse(checkFail, "give the server an address of this machine: "+p.flag)
	}
	return f
}

// answers reports whether a caxton serves on the port already.
func (p port) answers(ctx context.Context) bool {
	const patience, enough = 3 * time.Second, 64 << 10
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	host, number, err := net.SplitHostPort(p.addr)
	if err != nil {
		return false
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		host = "localhost" // which a server always knows as its own name
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, number)+p.path, nil)
	if err != nil {
		return false
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return false
	}
	defer func() { _ = res.Body.Close() }() // it was only read
	body, err := io.ReadAll(io.LimitReader(res.Body, enough))
	return err == nil && res.StatusCode == http.StatusOK && bytes.Contains(body, []byte(p.sign))
}

// owner names the process that listens on a port, as far as this user may know.
func owner(system fs.FS, addr string) string {
	const unknown = "another process"
	_, number, err := net.SplitHostPort(addr)
	if err != nil {
		return unknown
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return unknown
	}
	sockets := listening(system, uint16(n))
	fds, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return unknown
	}
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if err != nil || !sockets[target] { // other users' are not ours to read
			continue
		}
		pid := strings.Split(fd, "/")[2]
		comm, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return fmt.Sprintf("%s, pid %s", strings.TrimSpace(string(comm)), pid)
	}
	return unknown
}

// listening returns the sockets that listen on a port, as /proc names them. The
// tables are those of proc_pid_net(5).
func listening(system fs.FS, number uint16) map[string]bool {
	const stateListen, fieldAddr, fieldState, fieldInode = "0A", 1, 3, 9
	sockets := make(map[string]bool)
	for _, table := range []string{"proc/net/tcp", "proc/net/tcp6"} {
		b, err := fs.ReadFile(system, table)
		if err != nil {
			continue
		}
		lines := bufio.NewScanner(bytes.NewReader(b))
		for lines.Scan() {
			f := strings.Fields(lines.Text())
			if len(f) > fieldInode && f[fieldState] == stateListen && strings.HasSuffix(f[fieldAddr], fmt.Sprintf(":%04X", number)) {
				sockets["socket:["+f[fieldInode]+"]"] = true
			}
		}
	}
	return sockets
}
