//! Checks what must be true of every input of [`FuzzTarget::Kubeconfig`].
#![no_main]

use rolecall::fuzz::FuzzTarget;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Err(broken) = FuzzTarget::Kubeconfig.check(bytes) {
        panic!("{broken}");
    }
});
