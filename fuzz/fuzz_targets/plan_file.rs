//! Checks what must be true of every input of [`FuzzTarget::PlanFile`].
#![no_main]

use rolecall::fuzz::FuzzTarget;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = FuzzTarget::PlanFile.check(bytes) {
        panic!("{broken}");
    }
});
