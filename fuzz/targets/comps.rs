//! Groups of packages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pristine::repository::Comps;

fuzz_target!(|bytes: &[u8]| {
    drop(Comps::parse(bytes, "comps.xml"));
});
