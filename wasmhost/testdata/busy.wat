;; What guests do to keep a host busy, by the letter of the message: in quotes, as JSON.
(module
  (import "caxton" "reply" (func $reply (param i32 i32) (result i32)))
  (import "caxton" "msg_field" (func $msg_field (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "log" (func $log (param i32 i32 i32) (result i32)))
  (import "caxton" "now" (func $now (result i64)))
  (import "caxton" "random" (func $random (param i32 i32) (result i32)))
  (import "caxton" "state_get" (func $state_get (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "state_put" (func $state_put (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 16 16)
  (global $sum (mut i64) (i64.const 0))
  (data (i32.const 16) "content")
  (data (i32.const 80) "key")

  (func $leaf (param i64) (result i64) (i64.add (local.get 0) (i64.const 1)))
  (func $fib (param i32) (result i32)
    (if (result i32) (i32.lt_u (local.get 0) (i32.const 2)) (then (local.get 0))
      (else (i32.add (call $fib (i32.sub (local.get 0) (i32.const 1))) (call $fib (i32.sub (local.get 0) (i32.const 2)))))))
  (func $deep (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0)) (then (i32.const 0))
      (else (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1)))))

  ;; For the profile: main calls hot twice, cold once; each works a known number
  ;; of times round its loop.
  (func $hot (local $i i32)
    (loop $l
      (global.set $sum (i64.add (global.get $sum) (i64.const 3)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 3000)))))
  (func $cold (local $i i32)
    (loop $l
      (global.set $sum (i64.add (global.get $sum) (i64.const 3)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $l (i32.lt_u (local.get $i) (i32.const 1000)))))
  (func $main (call $hot) (call $cold) (call $hot) (drop (call $now)))

  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 2048))

  (func $handle (export "caxton_handle") (param i32 i32) (result i32)
    (local $op i32) (local $n i64)
    (drop (call $msg_field (i32.const 16) (i32.const 7) (i32.const 1024) (i32.const 64)))
    (local.set $op (i32.load8_u (i32.const 1024)))
    ;; s: spins
    (if (i32.eq (local.get $op) (i32.const 115)) (then (loop $l (br $l))))
    ;; n: loops within loops
    (if (i32.eq (local.get $op) (i32.const 110)) (then
      (loop $o
        (local.set $n (i64.const 0))
        (loop $i
          (local.set $n (i64.add (local.get $n) (i64.const 1)))
          (br_if $i (i64.lt_u (local.get $n) (i64.const 1000000))))
        (br $o))))
    ;; c: calls without end
    (if (i32.eq (local.get $op) (i32.const 99)) (then
      (loop $l (local.set $n (call $leaf (local.get $n))) (br $l))))
    ;; e: recurses exponentially, without a loop
    (if (i32.eq (local.get $op) (i32.const 101)) (then (return (call $fib (i32.const 200)))))
    ;; h: asks the host for the time
    (if (i32.eq (local.get $op) (i32.const 104)) (then (loop $l (drop (call $now)) (br $l))))
    ;; m: reads its message
    (if (i32.eq (local.get $op) (i32.const 109)) (then
      (loop $l (drop (call $msg_field (i32.const 16) (i32.const 7) (i32.const 1024) (i32.const 64))) (br $l))))
    ;; l: logs
    (if (i32.eq (local.get $op) (i32.const 108)) (then
      (loop $l (drop (call $log (i32.const 1) (i32.const 0) (i32.const 65536))) (br $l))))
    ;; p: writes its state, to one key
    (if (i32.eq (local.get $op) (i32.const 112)) (then
      (loop $l (drop (call $state_put (i32.const 80) (i32.const 3) (i32.const 0) (i32.const 65536))) (br $l))))
    ;; k: fills its memory with random bytes
    (if (i32.eq (local.get $op) (i32.const 107)) (then
      (loop $l (drop (call $random (i32.const 65536) (i32.const 983040))) (br $l))))
    ;; f: fills its memory
    (if (i32.eq (local.get $op) (i32.const 102)) (then
      (loop $l (memory.fill (i32.const 4096) (i32.const 1) (i32.const 1044480)) (br $l))))
    ;; g: asks for memory that it does not get
    (if (i32.eq (local.get $op) (i32.const 103)) (then (loop $l (drop (memory.grow (i32.const 1))) (br $l))))
    ;; w: waits
    (if (i32.eq (local.get $op) (i32.const 119)) (then
      (loop $l (drop (call $poll_oneoff (i32.const 3000) (i32.const 3100) (i32.const 1) (i32.const 3200))) (br $l))))
    ;; d: recurses deeply, and comes back
    (if (i32.eq (local.get $op) (i32.const 100)) (then (drop (call $deep (i32.const 9000)))))
    ;; q: works as the profile expects
    (if (i32.eq (local.get $op) (i32.const 113)) (then (call $main)))
    ;; r: reads its state
    (if (i32.eq (local.get $op) (i32.const 114)) (then
      (drop (call $state_get (i32.const 80) (i32.const 3) (i32.const 3000) (i32.const 64)))))
    (drop (call $reply (i32.const 16) (i32.const 1)))
    (i32.const 0))
)
