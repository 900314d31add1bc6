;; a data segment lies outside memory
(module
  (memory (export "memory") 1)
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 8)) (data (i32.const 65535) "ab")
  (func (export "caxton_handle") (param i32 i32) (result i32) (i32.const 0))
)
