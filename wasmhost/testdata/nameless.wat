;; Traps in a function that has no name: the second, number 1.
(module
  (memory (export "memory") 1)
  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 1024))
  (func (result i32) (unreachable))
  (func (export "caxton_handle") (param i32 i32) (result i32) (call 1)))
