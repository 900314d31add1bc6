package wasmhost

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caxton-run/caxton/events"
)

// effects is what a guest wants to have done, buffered until its call ends
// well.
type effects struct {
	reply   []byte
	replied bool
	sends   []events.Message
	changes []events.StateChange
	byKey   map[string]int // index into changes
	count   int            // sends and changes
	bytes   int            // of reply, sends, keys and values
	large   int            // bytes of contents beyond events.MaxMessageContent, which are not in bytes

	logs     []events.LogLine
	logBytes int
	logFull  bool
	lines    [2][]byte // unfinished lines of stdout and stderr
}

// truncated is the last log line of a message that logged too much.
const truncated = "[log truncated]"

// log adds a line; false when there is no more room.
func (e *effects) log(level events.LogLevel, text []byte, limit int) bool {
	if e.logFull {
		return false
	}
	if e.logBytes += len(text) + 1; e.logBytes > limit {
		e.logFull = true
		e.logs = append(e.logs, events.LogLine{Level: events.LogWarn, Text: truncated})
		return false
	}
	e.logs = append(e.logs, events.LogLine{Level: level, Text: strings.ToValidUTF8(string(text), "\uFFFD")})
	return true
}

// write adds output of stdout (0) or stderr (1): whole lines become log lines.
func (e *effects) write(stream int, text []byte, limit int) {
	for len(text) > 0 && !e.logFull {
		line, rest, ended := bytes.Cut(text, []byte{'\n'})
		// One byte beyond the limit tells that it is exceeded; a guest's whole
		// memory is not copied for that.
		line = line[:min(len(line), limit+1)]
		e.lines[stream] = append(e.lines[stream], line...)
		if ended || len(e.lines[stream]) > limit {
			e.flushLine(stream, limit)
		}
		text = rest
	}
}

func (e *effects) flushLine(stream, limit int) {
	level := events.LogInfo
	if stream == 1 {
		level = events.LogError
	}
	line := bytes.TrimSuffix(e.lines[stream], []byte{'\r'})
	e.log(level, line, limit)
	e.lines[stream] = e.lines[stream][:0]
}

// flushLines ends lines that the guest did not end.
func (e *effects) flushLines(limit int) {
	for stream := range e.lines {
		if len(e.lines[stream]) > 0 {
			e.flushLine(stream, limit)
		}
	}
}

// room accounts for an effect of n bytes, and ends the call when there are too
// many: a guest that floods is not asked to notice.
func (in *Instance) room(count, n int) {
	e, cfg := &in.call.effects, &in.host.cfg
	e.count += count
	e.bytes += n
	switch {
	case e.count > cfg.MaxEffects:
		in.stopWith(events.OutcomeEffectsTooLarge, fmt.Sprintf("more than %d sends and changes of state or timers", cfg.MaxEffects))
	case e.bytes > cfg.MaxEffectBytes:
		in.stopWith(events.OutcomeEffectsTooLarge, fmt.Sprintf("effects of more than %d bytes", cfg.MaxEffectBytes))
	}
}

// roomFor is room for a send or reply of n bytes. Content that is too large for an
// event does not count beside what stands in one: it has a bound of its own.
func (in *Instance) roomFor(count, n, content int) {
	if content <= events.MaxMessageContent {
		in.room(count, n)
		return
	}
	in.room(count, 0)
	e, most := &in.call.effects, largeContents*in.call.maxContent()
	if e.large += content; e.large > most {
		in.stopWith(events.OutcomeEffectsTooLarge, fmt.Sprintf("large contents of more than %d bytes together", most))
	}
}

// largeContents of the most size may one message lead to.
const largeContents = 4

// change buffers a state change; the last of a key counts.
func (in *Instance) change(c events.StateChange) {
	e := &in.call.effects
	if i, ok := e.byKey[c.Key]; ok {
		in.room(0, len(c.Value)-len(e.changes[i].Value))
		e.changes[i] = c
		return
	}
	in.room(1, len(c.Key)+len(c.Value))
	if e.byKey == nil {
		e.byKey = make(map[string]int)
	}
	e.byKey[c.Key] = len(e.changes)
	e.changes = append(e.changes, c)
}

// lookup reads a key as this message sees it.
func (in *Instance) lookup(key string) ([]byte, bool) {
	c := &in.call
	if i, ok := c.byKey[key]; ok {
		return c.changes[i].Value, !c.changes[i].Delete
	}
	if c.state == nil {
		return nil, false
	}
	return c.state.Get(key)
}

// sendFields are the fields of a message that a guest may set.
type sendFields struct {
	Performative   string          `json:"performative"`
	Receiver       string          `json:"receiver"`
	Content        json.RawMessage `json:"content"`
	ContentBase64  []byte          `json:"content_base64"`
	ConversationID string          `json:"conversation_id"`
	ReplyWith      string          `json:"reply_with"`
	InReplyTo      string          `json:"in_reply_to"`
	Protocol       string          `json:"protocol"`
	Language       string          `json:"language"`
	Ontology       string          `json:"ontology"`
	Priority       string          `json:"priority"`
	ReplyBy        *time.Time      `json:"reply_by"`
}

// parseSend reads a message that a guest sends. Identity, sender, hops and
// sequence are not the guest's to say: they are ignored. The code is 0 or
// negative.
func parseSend(b []byte, maxContent int) (events.Message, int32) {
	var f sendFields
	if !utf8.Valid(b) || json.Unmarshal(b, &f) != nil {
		return events.Message{}, codeInvalid
	}
	p, err := events.ParsePerformative(f.Performative)
	if err != nil {
		return events.Message{}, codeInvalid
	}
	m := events.Message{
		Performative: p, Receiver: f.Receiver, Content: f.Content, ContentBase64: f.ContentBase64,
		ConversationID: f.ConversationID, ReplyWith: f.ReplyWith, InReplyTo: f.InReplyTo,
		Protocol: f.Protocol, Language: f.Language, Ontology: f.Ontology, Priority: events.Priority(f.Priority), ReplyBy: f.ReplyBy,
	}
	if m.ContentSize() > maxContent {
		return events.Message{}, codeTooLarge
	}
	if m.Receiver == "" || m.Protocol == events.TimerProtocol || m.ValidateWithin(maxContent) != nil {
		return events.Message{}, codeInvalid
	}
	return m, 0
}
