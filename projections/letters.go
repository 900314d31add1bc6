package projections

import (
	"sort"
	"strconv"
	"sync"
	"time"

	"github.com/caxton-run/caxton/events"
)

// Bounds of the list of dead letters.
const (
	// maxLetters are kept, the newest ones: some 500 bytes each. Older ones stand in
	// their streams.
	maxLetters = 100_000

	maxLetterDetail = 256 // bytes of a letter's detail: it is shown in one line
)

// LetterKind says which way a message came to be set aside.
type LetterKind string

// Why a message is in the list.
const (
	DeadLetter  LetterKind = "dead_letter" // nobody would handle it
	Quarantined LetterKind = "quarantined" // it crashed the agent that ran it
)

// Letter is a message that nobody will handle unless somebody sees to it.
type Letter struct {
	MessageID      events.MessageID    `json:"message_id"`
	Kind           LetterKind          `json:"kind"`
	Agent          events.AgentID      `json:"agent"` // in whose stream it stands: the sender's, or the receiver's of one from outside or quarantined
	Sender         string              `json:"sender"`
	Receiver       string              `json:"receiver"`
	ConversationID string              `json:"conversation_id"`
	Performative   events.Performative `json:"performative"`
	Reason         string              `json:"reason"` // a DeadLetterReason, or the outcome that quarantined it
	Detail         string              `json:"detail,omitempty"`
	Attempts       int                 `json:"attempts"`
	At             time.Time           `json:"at"`
	Revision       events.Revision     `json:"revision"` // in the agent's stream
	Position       events.Position     `json:"position"`
}

// Letters is the list of messages that are set aside: dead letters and quarantined
// ones. One that is retried leaves it.
type Letters struct {
	most int

	mu   sync.RWMutex // guards below
	byID map[events.MessageID]*Letter
	each map[events.AgentID]int // letters by agent, > 0
	list []*Letter              // ascending positions; nil where one was taken out
	gone int                    // nils in list
	over []cover                // letters that stand for others' of the same message
	lost bool                   // there were more than are kept
}

// NewLetters returns the fold of an empty log.
func NewLetters() *Letters {
	return &Letters{most: maxLetters, byID: make(map[events.MessageID]*Letter), each: make(map[events.AgentID]int)}
}

// Apply implements Fold.
func (l *Letters) Apply(rec events.Recorded, p events.Payload) {
	id, ok := rec.Stream.AgentID()
	if !ok || rec.Stream.Category() != events.CategoryAgent {
		return
	}
	switch e := p.(type) {
	case events.MessageDeadLettered:
		l.add(rec, id, &e.Message, Letter{Kind: DeadLetter, Reason: string(e.Reason), Detail: e.Detail, Attempts: e.Attempts})
	case events.AgentQuarantined:
		l.add(rec, id, &e.Message, Letter{Kind: Quarantined, Reason: string(e.Outcome), Detail: e.Detail, Attempts: e.Attempts})
	case events.HistoryTrimmed:
		l.trimmed(id, e.Before)
	case events.DeadLetterRetried:
		l.mu.Lock()
		l.take(e.MessageID)
		l.mu.Unlock()
	}
}

func (l *Letters) add(rec events.Recorded, agent events.AgentID, m *events.Message, x Letter) {
	x.MessageID, x.Agent, x.Sender, x.Receiver = m.ID, agent, m.Sender, m.Receiver
	x.ConversationID, x.Performative = m.ConversationID, m.Performative
	x.At, x.Revision, x.Position = rec.RecordedAt, rec.Revision, rec.Position
	x.Detail = clipped(x.Detail, maxLetterDetail)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cover(l.byID[m.ID], &x)
	l.take(m.ID) // the newer one says more
	l.byID[m.ID] = &x
	l.each[agent]++
	l.list = append(l.list, &x)
	for len(l.byID) > l.most || l.list[0] == nil { // the oldest go first, with the places before them
		if old := l.list[0]; old != nil {
			l.take(old.MessageID)
		}
		l.list = l.list[1:]
		l.gone--
	}
	if l.gone*2 > len(l.list) {
		l.compact()
	}
}

// clipped returns at most n bytes of s, whole characters.
func clipped(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xc0 == 0x80 {
		n--
	}
	return s[:n] + "…"
}

// take removes a letter if it is there. Caller holds mu.
func (l *Letters) take(id events.MessageID) {
	x := l.byID[id]
	if x == nil {
		return
	}
	delete(l.byID, id)
	if l.each[x.Agent]--; l.each[x.Agent] == 0 {
		delete(l.each, x.Agent)
	}
	l.list[l.after(x.Position)-1] = nil
	l.gone++
}

// after returns the index of the first place whose letter is newer than p. A place
// that is empty counts as the one before it.
func (l *Letters) after(p events.Position) int {
	return sort.Search(len(l.list), func(i int) bool {
		for ; i < len(l.list); i++ {
			if l.list[i] != nil {
				return l.list[i].Position > p
			}
		}
		return true
	})
}

func (l *Letters) compact() {
	kept := make([]*Letter, 0, len(l.byID))
	for _, x := range l.list {
		if x != nil {
			kept = append(kept, x)
		}
	}
	l.list, l.gone = kept, 0
}

// Len is how many there are.
func (l *Letters) Len() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.byID)
}

// Get returns the letter of a message.
func (l *Letters) Get(id events.MessageID) (Letter, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	x := l.byID[id]
	if x == nil {
		return Letter{}, false
	}
	return *x, true
}

// LetterPage is a part of the list of letters, the newest first.
type LetterPage struct {
	Letters []Letter
	Total   int
	Next    string // cursor of the next page; empty after the last
}

// List returns at most limit (> 0) letters, the newest first, from after cursor on. An
// unreadable cursor is an *events.InvalidError for field "cursor".
func (l *Letters) List(cursor string, limit int) (LetterPage, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	end := len(l.list)
	if cursor != "" {
		p, err := strconv.ParseUint(cursor, 36, 63)
		if err != nil {
			return LetterPage{}, events.Invalid("cursor", "must be one that an earlier page gave")
		}
		end = l.before(events.Position(p))
	}
	page := LetterPage{Letters: []Letter{}, Total: len(l.byID)}
	for i := end - 1; i >= 0; i-- {
		x := l.list[i]
		if x == nil {
			continue
		}
		if len(page.Letters) == limit {
			page.Next = strconv.FormatUint(uint64(page.Letters[limit-1].Position), 36)
			break
		}
		page.Letters = append(page.Letters, *x)
	}
	return page, nil
}

// before returns the number of places whose letters are older than p.
func (l *Letters) before(p events.Position) int {
	if p == 0 {
		return 0
	}
	return l.after(p - 1)
}
