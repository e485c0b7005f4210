#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::against_cpython::run(data));
