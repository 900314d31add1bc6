// AssemblyScript's library for the meter's tests and benchmarks: each export takes
// how often to do its work and returns a checksum.

class Node {
  left: Node | null = null;
  right: Node | null = null;
  constructor(public key: u32) {}
}

function insert(at: Node, key: u32): void {
  for (;;) {
    const next = key < at.key ? at.left : at.right;
    if (next === null) break;
    at = next;
  }
  if (key < at.key) at.left = new Node(key);
  else at.right = new Node(key);
}

export function tree(n: u32): u32 {
  let x: u32 = 7;
  let out: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const root = new Node(1 << 31);
    for (let k = 0; k < 100; k++) {
      x = x * 1664525 + 1013904223;
      insert(root, x);
    }
    const left = root.left;
    if (left !== null) out = out * 31 + left.key;
  }
  return out;
}

export function text(n: u32): u32 {
  let out: u32 = 0;
  for (let i: u32 = 0; i < n; i++) {
    const words: string[] = [];
    for (let k: u32 = 0; k < 30; k++) words.push((k * i).toString() + ":" + (k ^ i).toString(16));
    words.sort();
    const all = words.join(",").toUpperCase();
    for (let k = 0; k < all.length; k++) out = out * 31 + all.charCodeAt(k);
  }
  return out;
}

export function maps(n: u32): u32 {
  const table = new Map<u32, u32>();
  let x: u32 = 7;
  for (let i: u32 = 0; i < n; i++) {
    x = x * 1664525 + 1013904223;
    const key = x >> 20;
    table.set(key, table.has(key) ? table.get(key) ^ i : i);
  }
  let out: u32 = 0;
  const keys = table.keys();
  for (let k = 0; k < keys.length; k++) out = out * 31 + table.get(keys[k]);
  return out;
}
