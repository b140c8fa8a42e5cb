;; As leak.wat, with other data in other places, and it always traps after it has soiled
;; everything: the neighbour whose slot another function gets next.
(module
  (memory (export "memory") 2)
  (table $t 4 funcref)
  (elem declare func $f)
  (global $g (mut i32) (i32.const 9))
  (data (i32.const 0) "neighbour neighbour neighbour neighbour neighbour neighbour neighbour")
  (data (i32.const 60000) "\09")
  (func $f)
  (func (export "_start")
    (global.set $g (i32.const 9))
    (memory.fill (i32.const 0) (i32.const 9) (i32.const 131072))
    (drop (memory.grow (i32.const 4)))
    (memory.fill (i32.const 131072) (i32.const 9) (i32.const 262144))
    (table.fill $t (i32.const 0) (ref.func $f) (i32.const 4))
    (unreachable)))
