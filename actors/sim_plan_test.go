package actors_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/caxton-run/caxton/actors"
	"github.com/caxton-run/caxton/events"
	"pgregory.net/rapid"
)

// plan is one schedule: what clients send, what operators do, and where the power is
// cut. With the seed it says all that a run decides.
type plan struct {
	seed     uint64        // of the times that calls take, and of what survives a cut
	slow     time.Duration // the longest that a call of the log takes
	ledgers  int
	accounts int
	clients  int
	early    failpoint // armed before anything is deployed; empty: none
	earlyAt  int
	traders  bool // there are a manager and contractors
	mute     bool // there is an agent without a handler, to which ledgers pass on too
	keyless  bool // no request has a key, whose answer its agent's history would keep for a day
	late     bool // in the end, when no key has its answer any more, what nothing needs is given up
	running  bool // messages that run are recorded, as the next life's suspects
	cfg      actors.Config
	steps    []step
}

// action is what a step does.
type action string

// The actions.
const (
	doSend    action = "send"
	doPay     action = "pay" // from one account to another
	doWait    action = "wait"
	doCrash   action = "crash"
	doReboot  action = "reboot" // an orderly restart of the node
	doSuspend action = "suspend"
	doResume  action = "resume"
	doStop    action = "stop"
	doFresh   action = "fresh" // a restart of one agent
	doUpdate  action = "update"
	doRemove  action = "remove"
	doHalt    action = "halt" // an emergency stop
	doLift    action = "lift"
	doTrip    action = "trip" // a breaker, by hand
	doReset   action = "reset"
	doDrain   action = "drain"
	doRest    action = "rest"  // idle agents hibernate
	doFault   action = "fault" // of one append
	doBurst   action = "burst" // of messages that fail, as many as open a breaker
	doRetry   action = "retry" // of a dead letter to a ledger
	doBulk    action = "bulk"  // one action to many agents
	doTrim    action = "trim"  // old events are given up, and scavenged
	doCall    action = "call"  // for proposals
	doMute    action = "mute"  // a message to the agent without a handler
	doStorm   action = "storm" // one message for which all ledgers fail
	doCrowd   action = "crowd" // messages for which all fail, one for each, in one conversation
)

// step is one action, and how long until the next one.
type step struct {
	do       action
	client   int
	agent    int // of the ledgers, or the accounts
	peer     int // doPay
	what     *say
	class    events.Priority
	keyed    bool          // repeated until the outcome is known
	wait     time.Duration // for a reply
	by       string        // reply_by
	talk     string        // conversation; empty: one of its own
	fat      int           // letters behind what
	at       failpoint
	hits     int // and the highest price of doCall
	survives int // share of what was not synced that survives a cut, in percent
	all      bool
	bulk     actors.Action
	filter   actors.Filter
	grace    time.Duration // doStop, doDrain, doBulk
	then     time.Duration
}

// String is the step as a failure shows it.
func (s step) String() string {
	b := fmt.Sprintf("%s +%s", s.do, s.then)
	switch s.do {
	case doSend:
		text, _ := json.Marshal(s.what)
		return fmt.Sprintf("%s client %d → ledger %d %s keyed=%v wait=%s by=%s fat=%d %s", b, s.client, s.agent, s.class, s.keyed, s.wait, s.by, s.fat, text)
	case doPay:
		return fmt.Sprintf("%s client %d: account %d → %d keyed=%v", b, s.client, s.agent, s.peer, s.keyed)
	case doCall:
		return fmt.Sprintf("%s client %d, for %d at most, keyed=%v", b, s.client, s.hits, s.keyed)
	case doCrash:
		return fmt.Sprintf("%s %s, hit %d, %d%% of what was not synced survives", b, s.at, s.hits, s.survives)
	case doFault:
		return fmt.Sprintf("%s %s, hit %d", b, s.at, s.hits)
	case doMute:
		return fmt.Sprintf("%s client %d, keyed=%v", b, s.client, s.keyed)
	case doWait, doReboot, doHalt, doLift, doRest, doRetry, doTrim, doStorm, doCrowd:
		return b
	case doTrip, doReset:
		return fmt.Sprintf("%s ledger %d, all=%v over=%s", b, s.agent, s.all, s.grace)
	case doDrain:
		return fmt.Sprintf("%s within %s, discard=%v", b, s.grace, s.all)
	case doBulk:
		return fmt.Sprintf("%s %s grace=%s dry=%v %+v", b, s.bulk, s.grace, s.all, s.filter)
	case doStop:
		return fmt.Sprintf("%s ledger %d, drain=%v grace=%s", b, s.agent, s.all, s.grace)
	}
	return fmt.Sprintf("%s ledger %d", b, s.agent)
}

func (p *plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "seed %d, slow %s, %d ledgers, %d accounts, %d clients, turns of %d, mailboxes of %d, spill after %s, idle after %s, snapshot every %d, running=%v, late=%v, mute=%v, early %q %d\n",
		p.seed, p.slow, p.ledgers, p.accounts, p.clients, p.cfg.TurnMessages, p.cfg.MailboxSize, p.cfg.SpillAfter, p.cfg.IdleTimeout, p.cfg.SnapshotEvery, p.running, p.late, p.mute, p.early, p.earlyAt)
	for i, s := range p.steps {
		fmt.Fprintf(&b, "%3d %s\n", i, s)
	}
	return b.String()
}

// say is what a ledger is told to do; it is the content of messages.
type say struct {
	Op     string          `json:"op,omitempty"` // get, trap, refuse; else it is noted
	Ask    int             `json:"ask,omitempty"`
	Class  events.Priority `json:"class,omitempty"`
	By     string          `json:"by,omitempty"`
	Talk   string          `json:"talk,omitempty"` // conversation of what it passes on
	To     string          `json:"to,omitempty"`
	Then   *say            `json:"then,omitempty"`
	Also   string          `json:"also,omitempty"`
	Other  *say            `json:"other,omitempty"`
	Us     int64           `json:"us,omitempty"` // a timer
	Later  *say            `json:"later,omitempty"`
	Cancel int64           `json:"cancel,omitempty"`
	Can    string          `json:"can,omitempty"` // a capability that it registers
	Fat    int             `json:"fat,omitempty"` // letters that fill up what it passes on
	Pad    string          `json:"pad,omitempty"` // such letters, behind all else
}

// simFat makes a content that stands in a blob.
const simFat = events.MaxMessageContent + 1000

// fat is what is said with so many letters behind it, as a ledger passes it on.
func (s *say) fat(letters int) *say {
	if letters == 0 {
		return s
	}
	var full say
	if s != nil {
		full = *s
	}
	pad := make([]byte, letters)
	for i := range pad {
		pad[i] = 'a' + byte(i%23)
	}
	full.Pad = string(pad)
	return &full
}

// maxSteps bounds a schedule: what a fault takes is found in short ones too, and those
// can be read.
const maxSteps = 40

// drawPlan draws a schedule.
func drawPlan(t *rapid.T) *plan {
	p := &plan{
		seed:     rapid.Uint64().Draw(t, "seed"),
		slow:     rapid.SampledFrom([]time.Duration{0, time.Millisecond, 20 * time.Millisecond, 150 * time.Millisecond}).Draw(t, "slow"),
		ledgers:  rapid.SampledFrom([]int{3, 2, 6, 1}).Draw(t, "ledgers"),
		accounts: rapid.SampledFrom([]int{0, 3}).Draw(t, "accounts"),
		clients:  rapid.SampledFrom([]int{2, 3, 1}).Draw(t, "clients"),
		cfg:      actors.DefaultConfig(),
	}
	p.early = rapid.SampledFrom([]failpoint{"", "", cutAfter, cutBefore, unknownWritten, unknownLost}).Draw(t, "early")
	p.earlyAt = rapid.SampledFrom([]int{1, 2, 3, 4, 5, 7, 9}).Draw(t, "earlyAt")
	p.traders = rapid.IntRange(0, 2).Draw(t, "traders") == 2
	p.mute = rapid.IntRange(0, 2).Draw(t, "mute") == 2
	p.late = rapid.IntRange(0, 3).Draw(t, "late") == 3
	// A day of simulated time takes half a second.
	p.keyless = rapid.IntRange(0, 2).Draw(t, "keyless") == 2 || p.late && rapid.IntRange(0, 9).Draw(t, "day") < 9
	p.running = rapid.IntRange(0, 3).Draw(t, "running") == 3
	c := &p.cfg
	c.TurnMessages = rapid.SampledFrom([]int{1, 3, 64}).Draw(t, "turn")
	c.MailboxSize = rapid.SampledFrom([]int{1000, 2}).Draw(t, "mailbox")
	c.SpillAfter = rapid.SampledFrom([]time.Duration{100 * time.Millisecond, time.Millisecond}).Draw(t, "spill")
	c.IdleTimeout = rapid.SampledFrom([]time.Duration{time.Minute, 50 * time.Millisecond}).Draw(t, "idle")
	c.SnapshotEvery = rapid.SampledFrom([]int{1000, 1, 7}).Draw(t, "snapshot")
	c.DrainTimeout = 500 * time.Millisecond
	c.MaxContent, c.TrimEvents = 2*simFat, 1
	for range rapid.IntRange(1, maxSteps).Draw(t, "steps") { // a slice of rapid's own is mostly short
		p.steps = append(p.steps, drawStep(t, p))
	}
	return p
}

// menu is what steps do, by weight.
func menu() []action {
	return []action{
		doSend, doSend, doSend, doSend, doSend, doSend, doSend, doSend, doSend, doSend, doSend, doSend,
		doPay, doPay, doPay, doWait, doWait, doCrash, doCrash, doCrash, doReboot,
		doSuspend, doSuspend, doResume, doResume, doStop, doFresh, doUpdate, doRemove,
		doHalt, doLift, doTrip, doReset, doDrain, doRest, doFault, doFault,
		doBurst, doRetry, doRetry, doBulk, doBulk, doBulk, doStorm, doStorm, doCrowd, doCall, doCall, doCall, doMute, doMute, doTrim, doTrim, doTrim,
	}
}

func drawStep(t *rapid.T, p *plan) step {
	s := step{
		do:     rapid.SampledFrom(menu()).Draw(t, "do"),
		agent:  rapid.IntRange(0, p.ledgers-1).Draw(t, "agent"),
		client: rapid.IntRange(0, p.clients-1).Draw(t, "client"),
		then:   drawPause(t),
	}
	switch s.do {
	case doSend:
		s.what, s.keyed = drawSay(t, p, 3), rapid.Bool().Draw(t, "keyed")
		s.class = rapid.SampledFrom([]events.Priority{"", events.Low, events.Critical}).Draw(t, "class")
		s.wait = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "wait")
		s.by, s.fat = drawBy(t), drawFat(t)
	case doPay:
		if p.accounts == 0 {
			s.do = doWait
			break
		}
		s.agent, s.peer = rapid.IntRange(0, p.accounts-1).Draw(t, "from"), rapid.IntRange(0, p.accounts-1).Draw(t, "to")
		s.keyed = rapid.Bool().Draw(t, "keyed")
	case doCall:
		if !p.traders {
			s.do = doWait
			break
		}
		s.keyed, s.hits = rapid.Bool().Draw(t, "keyed"), rapid.SampledFrom([]int{100, 30}).Draw(t, "limit")
	case doMute:
		if !p.mute {
			s.do = doWait
			break
		}
		s.keyed = rapid.Bool().Draw(t, "keyed")
		s.wait = rapid.SampledFrom([]time.Duration{0, time.Second}).Draw(t, "wait")
	case doCrash:
		s.at = rapid.SampledFrom([]failpoint{cutNow, cutBefore, cutRun, cutAfter, cutSnapshot, cutWake, cutInbox, cutLifecycle}).Draw(t, "at")
		s.hits = rapid.SampledFrom([]int{1, 1, 2, 3, 5, 9, 17}).Draw(t, "hits")
		s.survives = rapid.SampledFrom([]int{0, 100, 50}).Draw(t, "survives")
	case doFault:
		s.at = rapid.SampledFrom([]failpoint{unknownWritten, unknownLost, anotherWriter}).Draw(t, "at")
		s.hits = rapid.SampledFrom([]int{1, 1, 2, 3, 5, 9, 17}).Draw(t, "hits")
	case doTrip, doReset:
		s.all = rapid.Bool().Draw(t, "all")
		s.grace = rapid.SampledFrom([]time.Duration{0, actors.MinReset}).Draw(t, "over")
	case doBulk:
		s.bulk = rapid.SampledFrom([]actors.Action{actors.ActionSuspend, actors.ActionResume, actors.ActionStop}).Draw(t, "bulk")
		s.filter, s.grace, s.all = drawFilter(t), drawPause(t), rapid.IntRange(0, 3).Draw(t, "dry") == 3
	case doStop, doDrain:
		s.all = rapid.Bool().Draw(t, "drain")
		s.grace = drawPause(t)
	}
	s.keyed = s.keyed && !p.keyless
	return s
}

// drawPause draws the time between two steps: often none at all.
func drawPause(t *rapid.T) time.Duration {
	return rapid.SampledFrom([]time.Duration{
		0, 0, 0, 300 * time.Microsecond, 7 * time.Millisecond, 60 * time.Millisecond, 400 * time.Millisecond, 3 * time.Second,
	}).Draw(t, "pause")
}

// simBegin is when the time of a bubble begins.
func simBegin() time.Time { return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) }

// simPrincipal is who deploys.
const simPrincipal = "user:sim"

// ledgerID is the id of a ledger: it follows from the request that deploys it.
func ledgerID(i int) events.AgentID { return simID(fmt.Sprintf("ledger-%d", i)) }

// muteID is the id of the agent without a handler.
func muteID() events.AgentID { return simID("mute-0") }

func accountID(i int) events.AgentID { return simID(fmt.Sprintf("account-%d", i)) }

func simID(name string) events.AgentID {
	return events.AgentID(events.RequestUUID(simPrincipal, name, "agent", 0))
}
