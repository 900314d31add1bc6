// Calls every function of the SDK: the compiler looks into no function that is
// not called, so this is what holds caxton.ts to compile.
import * as caxton from "./caxton";
export { caxton_alloc } from "./caxton";

export function caxton_init(): i32 {
  return caxton.registerCapability("every");
}

export function caxton_handle(p: usize, n: i32): i32 {
  return caxton.run(p, handle);
}

function handle(): i32 {
  const dice = new ArrayBuffer(8);
  if (caxton.random(changetype<usize>(dice), 8) != 0) return 1;
  if (caxton.now() <= 0 || caxton.fuelLeft() <= 0) return 2;
  if (caxton.field("content.absent") !== null) return 3;
  const text = caxton.field("content.text");
  if (text === null) return 4;
  if (caxton.statePut("text", caxton.quote(text)) != 0) return 5;
  if (caxton.stateGet("text") != caxton.quote(text)) return 6;
  if (caxton.statePut("gone", "1") != 0 || caxton.stateDelete("gone") != 0) return 7;
  if (caxton.stateGet("gone") !== null) return 8;
  const timer = caxton.timerSet(1000000, "{}");
  if (timer < 0 || caxton.timerCancel(timer) != 0) return 9;
  if (caxton.timerCancel(timer) != caxton.Fault.Absent) return 10;
  if (!caxton.isInt("-12") || caxton.isInt("1.5") || caxton.isInt("") || caxton.isInt(null)) return 11;
  if (caxton.send(`{"performative":"inform","receiver":"capability:every","content":1}`) != 0) return 12;
  caxton.log(caxton.Level.Info, "all called");
  if (caxton.reply(`{"text":${caxton.quote(text)}}`) != 0) return 13;
  return caxton.reply("1") == caxton.Fault.Replied ? 0 : 14;
}
