//! The built-in API resources are those that the API server serves.

use std::collections::BTreeMap;
use std::path::Path;

use crate::common::TestCluster;
use crate::common::shared_cluster::cluster;
use serde_json::Value;

/// A resource with its subresources, by API group and plural.
#[derive(Default)]
struct Row {
    singular: String,
    kind: String,
    short_names: String,
    scope: &'static str,
    verbs: String,
    subresources: BTreeMap<String, String>,
}

fn joined(list: &Value) -> String {
    let mut texts: Vec<&str> =
        list.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_str).collect();
    texts.sort_unstable();
    if texts.is_empty() { "-".to_owned() } else { texts.join(",") }
}

fn get(cluster: &TestCluster, path: &str) -> Value {
    let (status, body) = cluster.admin("GET", path, None);
    assert_eq!(status, 200, "GET {path}: {body}");
    body
}

/// Returns the table in the form of `src/api_resources/builtin.rs`.
fn table(cluster: &TestCluster) -> String {
    let mut paths = vec!["/api/v1".to_owned()];
    for group in get(cluster, "/apis")["groups"].as_array().unwrap() {
        for version in group["versions"].as_array().unwrap() {
            paths.push(format!("/apis/{}", version["groupVersion"].as_str().unwrap()));
        }
    }
    let mut rows: BTreeMap<(String, String), Row> = BTreeMap::new();
    for path in paths {
        let list = get(cluster, &path);
        let group = list["groupVersion"].as_str().unwrap().rsplit_once('/').map_or("-", |(group, _)| group);
        for resource in list["resources"].as_array().unwrap() {
            let name = resource["name"].as_str().unwrap();
            let (plural, subresource) = name.split_once('/').unwrap_or((name, ""));
            let row = rows.entry((group.to_owned(), plural.to_owned())).or_default();
            if !subresource.is_empty() {
                row.subresources.insert(subresource.to_owned(), joined(&resource["verbs"]));
                continue;
            }
            row.singular = resource["singularName"].as_str().unwrap().to_owned();
            row.kind = resource["kind"].as_str().unwrap().to_owned();
            row.short_names = joined(&resource["shortNames"]);
            row.scope = if resource["namespaced"].as_bool().unwrap() { "n" } else { "c" };
            row.verbs = joined(&resource["verbs"]);
        }
    }
    let mut text = String::new();
    for ((group, plural), row) in rows {
        let Row { singular, kind, short_names, scope, verbs, subresources } = row;
        text.push_str(&format!("{group} {plural} {singular} {kind} {short_names} {scope} {verbs}"));
        for (name, verbs) in subresources {
            text.push_str(&format!(" {name}:{verbs}"));
        }
        text.push('\n');
    }
    text
}

#[test]
fn builtin_api_resources_are_those_of_the_api_server() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/api_resources/builtin.rs");
    let source = std::fs::read_to_string(&path).unwrap();
    let (head, _) = source.split_once("= \"\\\n").unwrap();
    let expected = format!("{head}= \"\\\n{}\";\n", table(&cluster()));
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &expected).unwrap();
    } else {
        assert!(source == expected, "{} differs from the API server; BLESS=1 writes it", path.display());
    }
}
