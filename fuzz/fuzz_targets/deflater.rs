//! Runs `deflater` on what libFuzzer makes.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|octets: &[u8]| heirloom_fuzz::deflater(octets));
