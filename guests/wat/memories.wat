;; Grows two memories and a table in turn until one is refused, then says how many KiB it holds.
;; Ends with 0: the refusal is the guest's to handle.
(module
  (import "wasi_snapshot_preview1" "fd_write"
    (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (memory $second 1)
  (table $t 1 funcref)
  (func $digits (param $n i32) (param $end i32) (result i32)
    (loop $next
      (local.set $end (i32.sub (local.get $end) (i32.const 1)))
      (i32.store8 (local.get $end)
        (i32.add (i32.const 48) (i32.rem_u (local.get $n) (i32.const 10))))
      (local.set $n (i32.div_u (local.get $n) (i32.const 10)))
      (br_if $next (local.get $n)))
    (local.get $end))
  (func (export "_start")
    (local $at i32)
    (block $full
      (loop $more
        (br_if $full (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
        (br_if $full (i32.eq (memory.grow $second (i32.const 1)) (i32.const -1)))
        (br_if $full (i32.eq (table.grow $t (ref.null func) (i32.const 1024)) (i32.const -1)))
        (br $more)))
    (i32.store8 (i32.const 63) (i32.const 10))
    (local.set $at (call $digits
      (i32.add
        (i32.mul (i32.const 64) (i32.add (memory.size) (memory.size $second)))
        (i32.div_u (table.size $t) (i32.const 128)))
      (i32.const 63)))
    (i32.store (i32.const 0) (local.get $at))
    (i32.store (i32.const 4) (i32.sub (i32.const 64) (local.get $at)))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))
