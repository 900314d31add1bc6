;; Calls itself 60 deep for each message: as much as an agent may under one version of
;; the meter, and more than it may under another that weighs its frames more.
(module
  (memory (export "memory") 1)
  (func $down (param i32) (result i32)
    (if (result i32) (i32.eqz (local.get 0))
      (then (i32.const 0))
      (else (i32.add (i32.const 0) (call $down (i32.sub (local.get 0) (i32.const 1)))))))
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 1024))
  (func (export "caxton_handle") (param i32 i32) (result i32)
    (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
    (call $down (i32.const 60))))
