// serde_json and the standard library for the meter's tests and benchmarks: each
// export takes how often to do its work and returns a checksum.
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

#[derive(Serialize, Deserialize)]
struct Order {
    id: u32,
    name: String,
    price: f64,
    tags: Vec<String>,
    extra: BTreeMap<String, String>,
}

fn orders(n: u32) -> Vec<Order> {
    (0..n)
        .map(|i| Order {
            id: i,
            name: format!("order {i}"),
            price: f64::from(i) * 1.25,
            tags: vec!["a".into(), "b\n".into(), "ü".into()],
            extra: BTreeMap::from([("k".into(), "v".into())]),
        })
        .collect()
}

fn sum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(2166136261, |h, b| (h ^ u32::from(*b)).wrapping_mul(16777619))
}

#[no_mangle]
pub extern "C" fn json(n: u32) -> u32 {
    let text = serde_json::to_string(&orders(20)).unwrap();
    let mut out = 0u32;
    for _ in 0..n {
        let typed: Vec<Order> = serde_json::from_str(&text).unwrap();
        let free: serde_json::Value = serde_json::from_str(&text).unwrap();
        out = out.wrapping_mul(31).wrapping_add(sum(serde_json::to_string(&typed).unwrap().as_bytes()));
        out = out.wrapping_mul(31).wrapping_add(sum(free.to_string().as_bytes()));
    }
    out
}

#[no_mangle]
pub extern "C" fn maps(n: u32) -> u32 {
    let (mut tree, mut table, mut x) = (BTreeMap::new(), HashMap::new(), 7u32);
    for i in 0..n {
        x = x.wrapping_mul(1664525).wrapping_add(1013904223);
        *tree.entry(x >> 20).or_insert(0u32) += i;
        *table.entry(x >> 18).or_insert(0u32) ^= i;
    }
    let trees = tree.iter().fold(0u32, |h, (k, v)| h.wrapping_mul(31).wrapping_add(k ^ v));
    table.iter().fold(trees, |h, (k, v)| h.wrapping_add(k.wrapping_mul(*v)))
}

#[no_mangle]
pub extern "C" fn text(n: u32) -> u32 {
    let mut out = 0u32;
    for i in 0..n {
        let mut s = String::new();
        for k in 0..20u32 {
            write!(s, "{:>8}|{:#x}|{:.3};", k * i, k ^ i, f64::from(k) / 7.0).unwrap();
        }
        let mut words: Vec<&str> = s.split(|c| c == '|' || c == ';').map(str::trim).collect();
        words.sort_unstable();
        out = out.wrapping_mul(31).wrapping_add(sum(words.concat().to_uppercase().as_bytes()));
    }
    out
}
