package main

import (
	"fmt"
	"strings"
)

// shapes are the structs that events are made of, in the order of the page.
func shapes() []string {
	return []string{"Metadata", "Message", "BlobRef", "ResourceLimits", "HostRecord", "LogLine", "StateChange", "Migration", "AgentTotals", "AgentError", "SeenSend"}
}

// sets are the closed sets of strings, in the order of the page.
func sets() []string {
	return []string{"OutcomeStatus", "StopCause", "BreakerCause", "DeadLetterReason", "Performative", "Priority", "LogLevel"}
}

// unsaid is what fields of shapes mean whose names and types say it to a reader of
// Go. A field that has a comment must not stand here as well.
func unsaid() map[string]string {
	return map[string]string{
		"Metadata.schemaVersion":  "version of the event's data; absent or 0 is 1",
		"Metadata.member":         "the node that wrote it",
		"Message.id":              "the message, for ever",
		"Message.performative":    "what it does",
		"Message.content":         "any JSON, at most 256 KiB; absent when the content is bytes, in a blob, or none",
		"Message.content_base64":  "content that is not JSON, at most 256 KiB before it is encoded; never beside content",
		"Message.conversation_id": "the conversation, also the event's correlation; at most 256 bytes",
		"Message.reply_with":      "what an answer is to repeat in in_reply_to; at most 256 bytes",
		"Message.in_reply_to":     "what the answered message gave in reply_with, or its id",
		"Message.reply_by":        "when it is too late: not delivered or run after that",
		"Message.protocol":        "name of a FIPA interaction protocol; at most 256 bytes, not interpreted",
		"Message.language":        "of the content; at most 256 bytes, not interpreted",
		"Message.ontology":        "of the content; at most 256 bytes, not interpreted",
		"BlobRef.sha256":          "of the content, lower-case hex: blob-<sha256> is where it stands",
		"OutcomeStatus.OK":        "the guest came to its end, and its effects count",
		"LogLine.level":           "how much it matters",
		"StateChange.key":         "1 to 256 bytes of UTF-8",
		"StateChange.delete":      "true: the key is gone, and value is absent",
	}
}

// meaning says what a field or value means, from its comment or from unsaid, never
// both.
func meaning(of, name, comment string) (string, error) {
	key := of + "." + name
	said := unsaid()[key]
	switch {
	case comment == "" && said == "":
		return "", fmt.Errorf("%s has no comment", key)
	case comment != "" && said != "":
		return "", fmt.Errorf("%s has a comment and an entry in unsaid", key)
	}
	return comment + said, nil
}

// jsonType says what a field of a Go type is in JSON.
func jsonType(typ string) (string, error) {
	elem, list := strings.CutPrefix(typ, "[]")
	for _, name := range append(shapes(), sets()...) {
		switch {
		case elem == name && list:
			return "array of " + link(name), nil
		case elem == name:
			return link(name), nil
		}
	}
	switch typ {
	case "string", "MemberID":
		return "string", nil
	case "bool":
		return "boolean", nil
	case "int", "int32", "int64", "uint64", "Fuel", "Revision", "Position", "TimerID":
		return "integer", nil
	case "AgentID", "MessageID", "EventID":
		return "string, a UUID", nil
	case "ModuleHash", "BlobHash":
		return "string, 64 hex digits", nil
	case "time.Time":
		return "string, RFC 3339", nil
	case "json.RawMessage":
		return "any", nil
	case "[]byte":
		return "string, base64", nil
	case "[]string":
		return "array of strings", nil
	case "[]Revision":
		return "array of integers", nil
	case "AgentDeployed": // a payload of its own
		return link("AgentDeployed"), nil
	case "[]AgentID":
		return "array of strings, UUIDs", nil
	case "Labels":
		return "object of strings", nil
	}
	return "", fmt.Errorf("type %s has no name in JSON here", typ)
}
