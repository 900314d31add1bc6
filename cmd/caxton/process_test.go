package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	caxtonhttp "github.com/caxton-run/caxton/http"
)

// process is a server in a process of its own, so that it can be killed. It
// keeps its address over restarts.
type process struct {
	t     testing.TB
	dir   string
	addr  string
	stats string // URL of the metrics
	flags []string
	cmd   *exec.Cmd
	lines chan string // of stdout; closed at its end
}

func newProcess(t testing.TB, flags ...string) *process {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, dir: t.TempDir(), addr: addr, flags: flags}
	t.Cleanup(func() {
		if p.cmd != nil {
			p.kill()
		}
	})
	return p
}

// start returns when the server has printed its addresses.
func (p *process) start() {
	p.t.Helper()
	program, err := exec.LookPath("caxton") // put into PATH by TestMain
	if err != nil {
		p.t.Fatal(err)
	}
	args := append([]string{"server", "start", "--data-dir", p.dir, "--api-addr", p.addr, "--metrics-addr", "127.0.0.1:0"}, p.flags...)
	p.cmd = exec.Command(program, args...)
	p.cmd.Stderr = os.Stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.lines = make(chan string, 1024)
	go read(out, p.lines)
	p.expect("caxton: REST API on ")
	p.stats = p.expect("caxton: metrics on ")
}

// scrape returns the metrics as text.
func (p *process) scrape() string {
	p.t.Helper()
	resp, err := http.Get(p.stats)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(body)
}

// read passes on lines until the stream ends.
func read(out io.Reader, lines chan<- string) {
	defer close(lines)
	for s := bufio.NewScanner(out); s.Scan(); {
		select {
		case lines <- s.Text():
		default: // nobody waits for so many
		}
	}
}

// patience bounds a wait for a server that is this test's binary: under the race detector, on
// a busy machine, compiling the demonstration's guests alone takes it minutes.
const patience = 5 * time.Minute

// expect returns the rest of the first line from now on that holds text.
func (p *process) expect(text string) string {
	p.t.Helper()
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, ok := <-p.lines:
			if !ok {
				p.t.Fatalf("the server ended before it printed %q", text)
			}
			if _, rest, found := strings.Cut(line, text); found {
				return rest
			}
		case <-late.C:
			p.t.Fatalf("the server did not print %q", text)
		}
	}
}

// kill ends the process as a power cut would, as far as a process can tell.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatal(err)
	}
	p.wait()
}

// killUnsuspected is kill, and nothing that ran is held against itself when it runs at the
// next kill too, by chance: twice in a row, and a message is quarantined.
func (p *process) killUnsuspected() {
	p.t.Helper()
	p.kill()
	if err := os.Remove(filepath.Join(p.dir, "running.suspects")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.t.Fatal(err)
	}
}

// wait returns how the process ended.
func (p *process) wait() error {
	for range p.lines {
	}
	err := p.cmd.Wait()
	p.cmd = nil
	return err
}

func (p *process) client() *caxtonhttp.Client {
	p.t.Helper()
	c, err := caxtonhttp.NewClient(caxtonhttp.ClientOptions{URL: "http://" + p.addr, Timeout: 30 * time.Second})
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(c.Close)
	return c
}

// ready waits until the server takes traffic.
func (p *process) ready(c *caxtonhttp.Client) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for {
		if _, err := c.Ready(ctx); err == nil {
			return
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			p.t.Fatal("the server is not ready")
		}
	}
}
