// Calls everything that the SDK has; sdk_test.go says what must come of it.
#include "caxton.h"

static char *put_int(char *p, i64 v) { return p + format_int(p, v); }

static int on_message(const char *msg, int n) {
	static char out[2048];
	char buf[300], random[8] = {0};
	char *p = put(out, "{\"sender\":\"");
	int len = field("sender", buf, sizeof buf), nonzero = 0;
	for (int i = 0; i < len; i++) *p++ = buf[i];
	p = put_int(put(p, "\",\"absent\":"), field("content.nothing", buf, sizeof buf));
	p = put_int(put(p, ",\"long\":"), caxton_msg_field("content.long", 12, buf, sizeof buf));
	i64 parsed = -1;
	int bad = parse_int("1x", 2, &parsed), good = parse_int("-12", 3, &parsed);
	p = put_int(put(p, ",\"parsed\":"), parsed);
	p = put_int(put(p, ",\"bad\":"), bad + 2 * good);
	p = put_int(put(p, ",\"before\":"), caxton_state_get("k", 1, buf, sizeof buf));
	p = put_int(put(p, ",\"put\":"), caxton_state_put("k", 1, "value", 5));
	p = put_int(put(p, ",\"after\":"), caxton_state_get("k", 1, buf, sizeof buf));
	p = put_int(put(p, ",\"deleted\":"), caxton_state_delete("k", 1));
	caxton_state_put("kept", 4, "yes", 3);
	p = put_int(put(p, ",\"badkey\":"), caxton_state_put("", 0, "v", 1));
	p = put_int(put(p, ",\"sent\":"), caxton_send("{\"receiver\":\"peer\",\"content\":1}", 31));
	p = put_int(put(p, ",\"badsend\":"), caxton_send("{}", 2));
	p = put_int(put(p, ",\"timer\":"), caxton_timer_set(60000000, "2", 1));
	p = put_int(put(p, ",\"cancelled\":"), caxton_timer_cancel(caxton_timer_set(70000000, "3", 1)));
	p = put_int(put(p, ",\"notimer\":"), caxton_timer_cancel(99));
	p = put_int(put(p, ",\"capability\":"), caxton_register_capability("add", 3));
	log_line(LOG_DEBUG, "debug");
	log_line(LOG_ERROR, "error");
	p = put_int(put(p, ",\"now\":"), caxton_now() > 1000000000000000ll);
	p = put_int(put(p, ",\"random\":"), caxton_random(random, sizeof random));
	for (int i = 0; i < 8; i++) nonzero |= random[i];
	p = put_int(put(p, ",\"drawn\":"), nonzero != 0);
	i64 left = caxton_fuel_left();
	p = put_int(put(p, ",\"fuel\":"), left > 0 && left > caxton_fuel_left());
	p = put(p, "}");
	caxton_reply(out, (int)(p - out));
	return caxton_reply("1", 1) == CAXTON_REPLIED ? 0 : 3;
}
