;; probe exports every function that a guest may import under its own name, so
;; that tests call it with any arguments, and handles messages by their content:
;; one letter says what it does.
(module
  (import "caxton" "reply" (func $reply (param i32 i32) (result i32)))
  (import "caxton" "send" (func $send (param i32 i32) (result i32)))
  (import "caxton" "msg_field" (func $msg_field (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "log" (func $log (param i32 i32 i32) (result i32)))
  (import "caxton" "now" (func $now (result i64)))
  (import "caxton" "random" (func $random (param i32 i32) (result i32)))
  (import "caxton" "state_get" (func $state_get (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "state_put" (func $state_put (param i32 i32 i32 i32) (result i32)))
  (import "caxton" "state_delete" (func $state_delete (param i32 i32) (result i32)))
  (import "caxton" "fuel_left" (func $fuel_left (result i64)))
  (import "caxton" "timer_set" (func $timer_set (param i64 i32 i32) (result i64)))
  (import "caxton" "timer_cancel" (func $timer_cancel (param i64) (result i32)))
  (import "caxton" "register_capability" (func $register_capability (param i32 i32) (result i32)))
  (import "env" "abort" (func $abort (param i32 i32 i32 i32)))
  (import "env" "seed" (func $seed (result f64)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "args_sizes_get" (func $args_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sched_yield" (func $sched_yield (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_get" (func $fd_fdstat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_fdstat_set_flags" (func $fd_fdstat_set_flags (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_get" (func $fd_prestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $fd_prestat_dir_name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_get" (func $fd_filestat_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_filestat_set_size" (func $fd_filestat_set_size (param i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pread" (func $fd_pread (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite" (func $fd_pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir" (func $fd_readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_seek" (func $fd_seek (param i32 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_sync" (func $fd_sync (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_filestat_get" (func $path_filestat_get (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "sock_shutdown" (func $sock_shutdown (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (global $count (mut i64) (i64.const 0))
  (func (export "reply") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $reply))
  (func (export "send") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $send))
  (func (export "msg_field") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $msg_field))
  (func (export "log") (param i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (call $log))
  (func (export "now") (result i64)  (call $now))
  (func (export "random") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $random))
  (func (export "state_get") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $state_get))
  (func (export "state_put") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $state_put))
  (func (export "state_delete") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $state_delete))
  (func (export "fuel_left") (result i64)  (call $fuel_left))
  (func (export "timer_set") (param i64 i32 i32) (result i64) (local.get 0) (local.get 1) (local.get 2) (call $timer_set))
  (func (export "timer_cancel") (param i64) (result i32) (local.get 0) (call $timer_cancel))
  (func (export "register_capability") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $register_capability))
  (func (export "abort") (param i32 i32 i32 i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $abort))
  (func (export "seed") (result f64)  (call $seed))
  (func (export "args_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $args_get))
  (func (export "args_sizes_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $args_sizes_get))
  (func (export "environ_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $environ_get))
  (func (export "environ_sizes_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $environ_sizes_get))
  (func (export "clock_time_get") (param i32 i64 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (call $clock_time_get))
  (func (export "random_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $random_get))
  (func (export "sched_yield") (result i32)  (call $sched_yield))
  (func (export "proc_exit") (param i32) (local.get 0) (call $proc_exit))
  (func (export "poll_oneoff") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $poll_oneoff))
  (func (export "fd_close") (param i32) (result i32) (local.get 0) (call $fd_close))
  (func (export "fd_fdstat_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $fd_fdstat_get))
  (func (export "fd_fdstat_set_flags") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $fd_fdstat_set_flags))
  (func (export "fd_prestat_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $fd_prestat_get))
  (func (export "fd_prestat_dir_name") (param i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (call $fd_prestat_dir_name))
  (func (export "fd_read") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $fd_read))
  (func (export "fd_write") (param i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $fd_write))
  (func (export "fd_filestat_get") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $fd_filestat_get))
  (func (export "fd_filestat_set_size") (param i32 i64) (result i32) (local.get 0) (local.get 1) (call $fd_filestat_set_size))
  (func (export "fd_pread") (param i32 i32 i32 i64 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (call $fd_pread))
  (func (export "fd_pwrite") (param i32 i32 i32 i64 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (call $fd_pwrite))
  (func (export "fd_readdir") (param i32 i32 i32 i64 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (call $fd_readdir))
  (func (export "fd_seek") (param i32 i64 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (call $fd_seek))
  (func (export "fd_sync") (param i32) (result i32) (local.get 0) (call $fd_sync))
  (func (export "path_filestat_get") (param i32 i32 i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (local.get 3) (local.get 4) (call $path_filestat_get))
  (func (export "sock_accept") (param i32 i32 i32) (result i32) (local.get 0) (local.get 1) (local.get 2) (call $sock_accept))
  (func (export "sock_shutdown") (param i32 i32) (result i32) (local.get 0) (local.get 1) (call $sock_shutdown))

  (data (i32.const 16) "content")
  (data (i32.const 32) "{\22receiver\22:\22b\22,\22content\22:1}")
  (data (i32.const 80) "key")
  (data (i32.const 100) "\08\00\00\00b\00o\00o\00m\00\08\00\00\00f\00.\00t\00s\00")
  (data (i32.const 160) "\c8\00\00\00\0a\00\00\00")
  (data (i32.const 200) "one\0atwo\0alo")

  (func $recurse (param i32) (result i32)
    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  (func (export "caxton_alloc") (param i32) (result i32) (i32.const 2048))

  (func (export "caxton_handle") (param i32 i32) (result i32)
    (local $op i32) (local $i i32)
    (drop (call $msg_field (i32.const 16) (i32.const 7) (i32.const 1024) (i32.const 64)))
    (local.set $op (i32.load8_u (i32.const 1024)))
    ;; a: answers "hi" and changes everything it can
    (if (i32.eq (local.get $op) (i32.const 97)) (then
      (drop (call $state_put (i32.const 80) (i32.const 3) (i32.const 200) (i32.const 3)))
      (drop (call $send (i32.const 32) (i32.const 28)))
      (drop (call $log (i32.const 2) (i32.const 200) (i32.const 3)))
      (drop (call $reply (i32.const 200) (i32.const 3)))))
    ;; r: the same, and refuses
    (if (i32.eq (local.get $op) (i32.const 114)) (then
      (drop (call $state_put (i32.const 80) (i32.const 3) (i32.const 200) (i32.const 3)))
      (drop (call $send (i32.const 32) (i32.const 28)))
      (drop (call $log (i32.const 2) (i32.const 200) (i32.const 3)))
      (drop (call $reply (i32.const 200) (i32.const 3)))
      (return (i32.const -5))))
    ;; u: traps
    (if (i32.eq (local.get $op) (i32.const 117)) (then (unreachable)))
    ;; z: divides by zero
    (if (i32.eq (local.get $op) (i32.const 122)) (then
      (return (i32.div_u (i32.const 1) (i32.load (i32.const 4000))))))
    ;; w: reads outside its memory, after a loop
    (if (i32.eq (local.get $op) (i32.const 119)) (then
      (loop $l (local.set $i (i32.add (local.get $i) (i32.const 1))) (br_if $l (i32.lt_u (local.get $i) (i32.const 10000))))
      (return (i32.load (i32.const -8)))))
    ;; s: spins
    (if (i32.eq (local.get $op) (i32.const 115)) (then (loop $l (br $l))))
    ;; d: recurses
    (if (i32.eq (local.get $op) (i32.const 100)) (then (return (call $recurse (i32.const 0)))))
    ;; g: grows until it may not, then traps
    (if (i32.eq (local.get $op) (i32.const 103)) (then
      (loop $l (br_if $l (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (unreachable)))
    ;; m: fills its memory for ever
    (if (i32.eq (local.get $op) (i32.const 109)) (then
      (loop $l (memory.fill (i32.const 8192) (i32.const 1) (i32.const 50000)) (br $l))))
    ;; x: ends itself
    (if (i32.eq (local.get $op) (i32.const 120)) (then (call $proc_exit (i32.const 3))))
    ;; b: aborts as AssemblyScript does
    (if (i32.eq (local.get $op) (i32.const 98)) (then
      (call $abort (i32.const 104) (i32.const 116) (i32.const 12) (i32.const 34))))
    ;; f: floods the host with sends
    (if (i32.eq (local.get $op) (i32.const 102)) (then
      (loop $l (drop (call $send (i32.const 32) (i32.const 28))) (br $l))))
    ;; p: floods it with state, a page at a time
    (if (i32.eq (local.get $op) (i32.const 112)) (then
      (loop $l
        (i32.store8 (i32.const 80) (i32.and (local.get $i) (i32.const 127)))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (drop (call $state_put (i32.const 80) (i32.const 1) (i32.const 0) (i32.const 65536)))
        (br $l))))
    ;; o: writes two lines and a half to stdout and stderr
    (if (i32.eq (local.get $op) (i32.const 111)) (then
      (drop (call $fd_write (i32.const 1) (i32.const 160) (i32.const 1) (i32.const 3000)))
      (drop (call $fd_write (i32.const 2) (i32.const 160) (i32.const 1) (i32.const 3000)))))
    ;; c: counts in a global and in memory, grows now and then, and takes random bytes
    (if (i32.eq (local.get $op) (i32.const 99)) (then
      (global.set $count (i64.add (global.get $count) (i64.const 1)))
      (i64.store (i32.add (i32.const 16384) (i32.wrap_i64 (i64.shl (i64.rem_u (global.get $count) (i64.const 4000)) (i64.const 3)))) (call $now))
      (if (i64.eqz (i64.rem_u (global.get $count) (i64.const 5))) (then
        (drop (memory.grow (i32.const 1)))
        (drop (call $random (i32.sub (i32.shl (memory.size) (i32.const 16)) (i32.const 100)) (i32.const 64)))))
      (drop (call $random (i32.const 3000) (i32.const 8)))
      (drop (call $reply (i32.const 3000) (i32.const 8)))))
    (i32.const 0))
)
