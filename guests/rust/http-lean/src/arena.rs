//! The allocator: a few kilobytes handed out upwards. Only the block handed out last can be given
//! back, which is how the bindings use it, so an instance that serves many requests never runs out.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::{Cell, UnsafeCell};
use core::ptr;

const SIZE: usize = 4096;

struct Arena {
    bytes: UnsafeCell<[u8; SIZE]>,
    used: Cell<usize>,
}

// SAFETY: a component of this kind has one thread.
unsafe impl Sync for Arena {}

#[global_allocator]
static ARENA: Arena = Arena { bytes: UnsafeCell::new([0; SIZE]), used: Cell::new(0) };

// SAFETY: blocks lie inside `bytes`, are aligned, and end where the next begins.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let base = self.bytes.get().cast::<u8>();
        let padding = base.wrapping_add(self.used.get()).align_offset(layout.align());
        let start = self.used.get() + padding;
        match start.checked_add(layout.size()) {
            Some(end) if end <= SIZE => {
                self.used.set(end);
                base.wrapping_add(start)
            }
            _ => ptr::null_mut(),
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        let start = block as usize - self.bytes.get() as usize;
        if start + layout.size() == self.used.get() {
            self.used.set(start);
        }
    }
}
