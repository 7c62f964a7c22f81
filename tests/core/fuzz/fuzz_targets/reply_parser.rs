//! Any bytes, read as replies of a server: at once, in pieces, and by the redis crate.
//!
//! What must hold is in `check_reply_parser`; its first two bytes choose the limits and the pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| redis_manager::testing::check_reply_parser(bytes));
