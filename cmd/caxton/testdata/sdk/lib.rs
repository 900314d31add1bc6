//! Calls everything that the SDK has; sdk_test.go says what must come of it.
mod caxton;

caxton::agent!(handle);

fn length(value: Option<Vec<u8>>) -> i64 {
    value.map_or(caxton::ABSENT as i64, |v| v.len() as i64)
}

fn handle(_msg: &[u8]) -> i32 {
    caxton::log_panics();
    let sender = caxton::field("sender").unwrap_or_default();
    let absent = caxton::field("content.nothing").map_or(-1, |_| 0);
    let long = caxton::field("content.long").unwrap_or_default().len();
    let bad = caxton::parse_int("1x").is_some() as i32 + 2 * caxton::parse_int("-12").is_some() as i32;
    let before = length(caxton::state_get("k"));
    let put = caxton::state_put("k", b"value");
    let after = length(caxton::state_get("k"));
    let deleted = caxton::state_delete("k");
    caxton::state_put("kept", b"yes");
    let badkey = caxton::state_put("", b"v");
    let sent = caxton::send(br#"{"receiver":"peer","content":1}"#);
    let badsend = caxton::send(b"{}");
    let timer = caxton::timer_set(60_000_000, b"2");
    let cancelled = caxton::timer_cancel(caxton::timer_set(70_000_000, b"3"));
    let notimer = caxton::timer_cancel(99);
    let capability = caxton::register_capability("add");
    caxton::log(caxton::Level::Debug, "debug");
    caxton::log(caxton::Level::Error, "error");
    let mut random = [0u8; 8];
    let drawn = caxton::random(&mut random);
    let left = caxton::fuel_left();
    let out = format!(
        "{{\"sender\":\"{}\",\"absent\":{},\"long\":{},\"parsed\":{},\"bad\":{},\"before\":{},\"put\":{},\"after\":{},\"deleted\":{},\
         \"badkey\":{},\"sent\":{},\"badsend\":{},\"timer\":{},\"cancelled\":{},\"notimer\":{},\"capability\":{},\"now\":{},\"random\":{},\"drawn\":{},\"fuel\":{}}}",
        sender, absent, long, caxton::parse_int("-12").unwrap_or(0), bad, before, put, after, deleted, badkey, sent, badsend,
        timer, cancelled, notimer, capability,
        (caxton::now() > 1_000_000_000_000_000) as i32, drawn, (random != [0u8; 8]) as i32,
        (left > 0 && left > caxton::fuel_left()) as i32,
    );
    caxton::reply(out.as_bytes());
    if caxton::reply(b"1") == caxton::REPLIED { 0 } else { 3 }
}
