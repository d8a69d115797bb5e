//! The tokens of `aws::token` before the unmodified token verifier of the authenticator.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use jiff::Timestamp;
use serde_json::json;

use super::differential::DifferentialFixture;
use crate::aws::presigned_token;

const ROLE: &str = "arn:aws:sts::111122223333:assumed-role/viewer/me";
const PODS: &str = "/api/v1/namespaces/default/pods";

#[test]
fn verifier_accepts_fresh_tokens_of_its_cluster_only() {
    let fixture = DifferentialFixture::new();
    let cluster = fixture.cluster;
    let entry = "- rolearn: arn:aws:iam::111122223333:role/viewer\n  username: v\n  groups: [system:masters]\n";
    cluster.set_aws_auth(&json!({ "mapRoles": entry }));
    let keys = cluster.credentials_for(ROLE);
    let (id, secret, session) = (keys.access_key_id, keys.secret_access_key, keys.session_token);
    let credentials = |secret: &str| Credentials::new(&id, secret, Some(session.clone()), None, "test");
    let now = SystemTime::from(Timestamp::now());
    let status = |token: &str| cluster.request(token, "GET", PODS, None, None).0;
    let name = cluster.cluster_name();
    let token = |name: &str, region: &str, secret: &str, time: SystemTime, number: u64| {
        presigned_token(name, region, &credentials(secret), time, number)
    };
    let fresh = token(name, "eu-west-1", &secret, now, 0);
    assert_eq!(status(&fresh), 200);
    for (region, age, number) in [("us-east-1", 0, 1), ("eu-central-1", 14 * 60, 2), ("eu-west-1", 60, 799)] {
        let token = token(name, region, &secret, now - Duration::from_secs(age), number);
        assert_eq!(status(&token), 200, "{region} {age} {number}");
    }
    for (what, token) in [
        ("expired", token(name, "eu-west-1", &secret, now - Duration::from_mins(16), 3)),
        ("another cluster", token("other", "eu-west-1", &secret, now, 4)),
        ("another secret", token(name, "eu-west-1", "not-the-secret", now, 5)),
        ("another partition", token(name, "cn-north-1", &secret, now, 6)),
        ("altered", format!("{}A", &fresh[..fresh.len() - 1])),
        ("cut", fresh[..fresh.len() - 8].to_owned()),
    ] {
        assert_eq!(status(&token), 401, "{what}");
    }
    cluster.admin("DELETE", "/api/v1/namespaces/kube-system/configmaps/aws-auth", None);
}
