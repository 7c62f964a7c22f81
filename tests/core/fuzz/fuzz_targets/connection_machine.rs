//! A connection's machine beside a model of a server, as the bytes choose; what must hold is in `check_connection_machine`.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| redis_manager::testing::check_connection_machine(bytes));
