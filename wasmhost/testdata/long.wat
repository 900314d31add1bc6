;; One instruction that works on much memory: half a GiB if that is to be had, else 12 MiB.
(module
  (import "caxton" "msg_field" (func $msg_field (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "content")
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 2048))

  (func (export "caxton_handle") (param i32 i32) (result i32)
    (local $size i32)
    (drop (call $msg_field (i32.const 16) (i32.const 7) (i32.const 1024) (i32.const 64)))
    (if (i32.eq (memory.grow (i32.const 8192)) (i32.const -1)) (then (drop (memory.grow (i32.const 192)))))
    (local.set $size (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 65536)))
    ;; f: fills
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 102)) (then
      (memory.fill (i32.const 65536) (i32.const 1) (local.get $size))))
    ;; c: copies forward, by a page and so over itself
    (if (i32.eq (i32.load8_u (i32.const 1024)) (i32.const 99)) (then
      (memory.copy (i32.const 65536) (i32.const 0) (local.get $size))))
    (i32.const 0)))
