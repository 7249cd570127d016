#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| pflow::fuzzing::pf(data));
