//! The double of AWS is tested in Go, by clients of the SDK of AWS for Go, so that it is not only checked by the SDK that
//! rolecall uses.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::common::http_client::HttpClient;
use crate::common::shared_cluster::CLUSTER;
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

#[test]
fn double_refuses_unsigned_requests_and_is_reset_with_cluster() {
    let (_guard, cluster) = CLUSTER.lock();
    let path = format!("/clusters/{}", cluster.cluster_name());
    let (status, answer) = HttpClient::new(cluster.aws(), None).send(None, "GET", &path, None, None);
    assert_eq!((status, answer["message"].as_str()), (403, Some("Missing Authentication Token")));
    let role = "arn:aws:iam::111122223333:role/team/dev";
    let first = cluster.set_iam_principals(&json!([{"arn": role}]));
    let second = cluster.set_iam_principals(&json!([{"arn": role, "recreated": true}]));
    assert_ne!(first, second);
    cluster.reset();
    assert_eq!(cluster.set_iam_principals(&json!([{"arn": role}])), first);
    assert!(cluster.aws_calls().is_empty());
}
