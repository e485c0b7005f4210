#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::marked::run(data));
