//! A global allocator that can count: how many allocations, and how many bytes are live, while somebody asks.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

/// The system's allocator. While nobody counts, it costs one relaxed load more, so that timings are not disturbed.
pub(crate) struct CountingAllocator;

static COUNTING: AtomicBool = AtomicBool::new(false);
static ONE_THREAD: AtomicBool = AtomicBool::new(false);
static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static LIVE_BYTES: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Whether this is the thread whose heap is counted, if only one's is.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn note(allocations: u64, bytes: i64) {
    if COUNTING.load(Ordering::Relaxed) && (!ONE_THREAD.load(Ordering::Relaxed) || COUNTED.get()) {
        ALLOCATIONS.fetch_add(allocations, Ordering::Relaxed);
        LIVE_BYTES.fetch_add(bytes, Ordering::Relaxed);
    }
}

fn signed(size: usize) -> i64 {
    i64::try_from(size).unwrap_or(i64::MAX)
}

// SAFETY: every call goes to `System` unchanged, which fulfils the contract; counting touches atomics only and never
// allocates.
#[allow(unsafe_code)]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, signed(layout.size()));
        // SAFETY: the caller's promise about `layout` is the one that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, -signed(layout.size()));
        // SAFETY: `block` came from `System` by way of `alloc` or `realloc`, with this layout.
        unsafe { System.dealloc(block, layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, signed(size) - signed(layout.size()));
        // SAFETY: as in `dealloc`, and the caller's promise about `size` is the one that `System` asks for.
        unsafe { System.realloc(block, layout, size) }
    }
}

/// A count that runs until it is dropped; one at a time.
pub(crate) struct HeapCount(());

impl HeapCount {
    pub(crate) fn start() -> HeapCount {
        ALLOCATIONS.store(0, Ordering::Relaxed);
        LIVE_BYTES.store(0, Ordering::Relaxed);
        COUNTING.store(true, Ordering::SeqCst);
        HeapCount(())
    }

    /// The same of this thread alone. Threads of earlier parts may yet free what those have left.
    pub(crate) fn start_here() -> HeapCount {
        COUNTED.set(true);
        ONE_THREAD.store(true, Ordering::SeqCst);
        HeapCount::start()
    }

    /// Allocations since the start, by all threads that are counted; a growing one counts as one.
    pub(crate) fn allocations(&self) -> u64 {
        ALLOCATIONS.load(Ordering::SeqCst)
    }

    /// Bytes by which the heap has grown since the start.
    pub(crate) fn growth(&self) -> i64 {
        LIVE_BYTES.load(Ordering::SeqCst)
    }
}

impl Drop for HeapCount {
    fn drop(&mut self) {
        COUNTING.store(false, Ordering::SeqCst);
        ONE_THREAD.store(false, Ordering::SeqCst);
        COUNTED.set(false);
    }
}
