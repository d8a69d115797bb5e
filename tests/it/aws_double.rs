//! The double of AWS is tested in Go, by clients of the SDK of AWS for Go, so that it is not only checked by the SDK that
//! rolecall uses.

use std::path::Path;
use std::process::Command;

use crate::common::{binary, go};

#[test]
fn double_answers_sdk_for_go_as_aws_does() {
    let mut test = Command::new(go::find(&binary::cache_dir().join("go")));
    test.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster"));
    test.args(["test", "-trimpath", "-mod=readonly", "./awsdouble/"]);
    test.envs([("CGO_ENABLED", "0"), ("GOFLAGS", ""), ("GOWORK", "off"), ("GOTOOLCHAIN", "local")]);
    let output = test.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}
