// Calls everything that the SDK has; sdk_test.go says what must come of it.
import * as caxton from "./caxton";
export { caxton_alloc } from "./caxton";

export function caxton_handle(p: usize, n: i32): i32 {
  return caxton.run(p, handle);
}

function length(value: string | null): i32 {
  return value === null ? caxton.Fault.Absent : value.length;
}

function number(b: bool): i32 {
  return b ? 1 : 0;
}

function handle(): i32 {
  const sender = caxton.field("sender");
  const absent = length(caxton.field("content.nothing"));
  const long = length(caxton.field("content.long", 4096));
  if (caxton.field("content.long", 100) !== null) return 4;
  const bad = number(caxton.isInt("1x")) + 2 * number(caxton.isInt("-12"));
  let out = `{"sender":${caxton.quote(sender!)},"absent":${absent},"long":${long},"parsed":${I64.parseInt("-12")},"bad":${bad}`;
  const before = length(caxton.stateGet("k"));
  const put = caxton.statePut("k", "value");
  const after = length(caxton.stateGet("k"));
  const deleted = caxton.stateDelete("k");
  caxton.statePut("kept", "yes");
  const badkey = caxton.statePut("", "v");
  const sent = caxton.send(`{"receiver":"peer","content":1}`);
  const badsend = caxton.send("{}");
  const timer = caxton.timerSet(60000000, "2");
  const cancelled = caxton.timerCancel(caxton.timerSet(70000000, "3"));
  const notimer = caxton.timerCancel(99);
  const capability = caxton.registerCapability("add");
  caxton.log(caxton.Level.Debug, "debug");
  caxton.log(caxton.Level.Error, "error");
  const random = new StaticArray<u8>(8);
  const drawn = caxton.random(changetype<usize>(random), 8);
  let nonzero: u8 = 0;
  for (let i = 0; i < 8; i++) nonzero |= random[i];
  const left = caxton.fuelLeft();
  const fuel = number(left > 0 && left > caxton.fuelLeft());
  out += `,"before":${before},"put":${put},"after":${after},"deleted":${deleted},"badkey":${badkey},"sent":${sent},"badsend":${badsend}`;
  out += `,"timer":${timer},"cancelled":${cancelled},"notimer":${notimer},"capability":${capability}`;
  out += `,"now":${number(caxton.now() > 1000000000000000)},"random":${drawn},"drawn":${number(nonzero != 0)},"fuel":${fuel}}`;
  caxton.reply(out);
  return caxton.reply("1") == caxton.Fault.Replied ? 0 : 3;
}
