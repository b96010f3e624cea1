#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| properties::effort::bounded(data, properties::wire::check));
