;; the start function never ends
(module
  (memory (export "memory") 1)
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 8)) (func $s (loop $l (br $l))) (start $s)
  (func (export "caxton_handle") (param i32 i32) (result i32) (i32.const 0))
)
