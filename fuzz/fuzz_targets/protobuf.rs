//! Checks what must be true of every input of [`FuzzTarget::Protobuf`].
#![no_main]

use rolecall::fuzz::FuzzTarget;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = FuzzTarget::Protobuf.check(bytes) {
        panic!("{broken}");
    }
});
