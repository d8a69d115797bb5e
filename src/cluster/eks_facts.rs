//! What EKS said about a cluster, as a document of a snapshot, so that offline plans know it as plans of the live cluster
//! do.
//!
//! Errors name the fields and never quote a value: a policy could name a file with secrets as a snapshot.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::access::IamIdentity;
use crate::aws::is_version;
use crate::guard::{NodeRoleUse, Observed};
use crate::names::{ObjectKind, eks_cluster_in_arn};
use crate::report::BackupDocument;
use crate::state::access_entry::AccessEntriesStatus;
use crate::state::auth_mode::{ClusterAuthMode, ObservedAuthMode};

const KIND: &str = "EksCluster";
/// The `apiVersion` of the document. It is raised when an older rolecall would misread it.
const VERSION: &str = "rolecall/v1";
/// What the `apiVersion` of every document of rolecall starts with.
const VERSION_PREFIX: &str = "rolecall/";

const ARN: &str = "arn";
const KUBERNETES_VERSION: &str = "version";
const AUTH_MODE: &str = "authentication-mode";
const NODE_ROLES: &str = "node-roles";
/// Only in `unknown`: the entries that are known are documents of their own.
const ACCESS_ENTRIES: &str = "access-entries";
const UNKNOWN: &str = "unknown";

/// The keys of a node role that say what it is used for.
const NODE_GROUP: &str = "node-group";
const FARGATE_PROFILE: &str = "fargate-profile";
const AUTO_MODE: &str = "auto-mode";

/// What EKS said about a cluster. For each fact that it did not say, the document has the reason.
#[derive(Debug, Clone)]
pub(crate) struct EksFacts {
    pub(crate) arn: Observed<String>,
    /// The version of Kubernetes.
    pub(crate) version: Observed<String>,
    pub(crate) auth_mode: Observed<ClusterAuthMode>,
    /// The ARN of each role that EKS uses for nodes, as EKS writes it.
    pub(crate) node_roles: Observed<Vec<(String, NodeRoleUse)>>,
    /// Why the access entries are not known. `None` if they are documents of the snapshot, or the cluster has none.
    pub(crate) unknown_access_entries: Option<String>,
}

/// Returns whether a document of a snapshot is one of rolecall itself, such as [`EksFacts`], and not an object.
pub(crate) fn is_own_document(value: &Value) -> bool {
    let is_entry = value.get("kind").and_then(Value::as_str) == Some(ObjectKind::AccessEntry.as_str());
    !is_entry
        && value.get("apiVersion").and_then(Value::as_str).is_some_and(|version| version.starts_with(VERSION_PREFIX))
}

impl EksFacts {
    /// Reads a document. `None` if it is not one of rolecall.
    ///
    /// # Errors
    /// Why the document is not valid, or that a newer version of rolecall has written it.
    pub(crate) fn from_document(value: &Value) -> Result<Option<Self>, String> {
        let text = |field: &str| value.get(field).and_then(Value::as_str);
        match (text("kind"), text("apiVersion")) {
            (Some(KIND), Some(VERSION)) => {
                let fields = value.as_object().ok_or_else(|| format!("{KIND} is not an object"))?;
                Self::from_fields(fields).map(Some).map_err(|why| format!("{KIND}: {why}"))
            }
            (Some(KIND), None) => Err(format!("apiVersion: expected `{VERSION}` for {KIND}")),
            (Some(BackupDocument::KIND), _) => Ok(None),
            (Some(kind), Some(VERSION)) if kind == ObjectKind::AccessEntry.as_str() => Ok(None),
            (Some(kind), Some(version)) if version.starts_with(VERSION_PREFIX) => {
                Err(format!("{kind} of {version} is of a newer rolecall: this one reads {KIND} of {VERSION}"))
            }
            _ => Ok(None),
        }
    }

    fn from_fields(fields: &Map<String, Value>) -> Result<Self, String> {
        let known = ["apiVersion", "kind", ARN, KUBERNETES_VERSION, AUTH_MODE, NODE_ROLES, UNKNOWN];
        if let Some(field) = fields.keys().find(|field| !known.contains(&field.as_str())) {
            return Err(format!("{field}: unknown field; a newer rolecall may have written it"));
        }
        let unknown = parse_unknown(fields.get(UNKNOWN))?;
        let text =
            |value: &Value, is_valid: fn(&str) -> bool| value.as_str().filter(|text| is_valid(text)).map(str::to_owned);
        let fact = FactReader { fields, unknown: &unknown };
        Ok(Self {
            arn: fact
                .read(ARN, "the ARN of an EKS cluster", |value| text(value, |arn| eks_cluster_in_arn(arn).is_some()))?,
            version: fact.read(KUBERNETES_VERSION, "a version, in quotes", |value| text(value, is_version))?,
            auth_mode: fact.read(AUTH_MODE, "such as CONFIG_MAP", |value| ClusterAuthMode::parse(value.as_str()?))?,
            node_roles: fact.read(
                NODE_ROLES,
                "a list with `role`, an ARN, and `node-group`, `fargate-profile` or `auto-mode: true`",
                |value| value.as_array()?.iter().map(parse_node_role).collect(),
            )?,
            unknown_access_entries: unknown.get(ACCESS_ENTRIES).map(|reason| (*reason).to_owned()),
        })
    }

    /// Returns the document.
    pub(crate) fn to_document(&self) -> Value {
        let Self { arn, version, auth_mode, node_roles, unknown_access_entries: _ } = self;
        let mut fields = Map::from_iter([("apiVersion".to_owned(), json!(VERSION)), ("kind".to_owned(), json!(KIND))]);
        let node_role = |(role, used_by): &(String, NodeRoleUse)| match used_by {
            NodeRoleUse::NodeGroup(name) => json!({ "role": role, NODE_GROUP: name }),
            NodeRoleUse::FargateProfile(name) => json!({ "role": role, FARGATE_PROFILE: name }),
            NodeRoleUse::AutoMode => json!({ "role": role, AUTO_MODE: true }),
        };
        let known = [
            (ARN, arn.known().map(|arn| json!(arn))),
            (KUBERNETES_VERSION, version.known().map(|version| json!(version))),
            (AUTH_MODE, auth_mode.known().map(|mode| json!(mode.as_str()))),
            (NODE_ROLES, node_roles.known().map(|roles| roles.iter().map(node_role).collect())),
        ];
        fields.extend(known.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
        let unknown = self.unknown();
        if !unknown.is_empty() {
            let unknown = unknown.iter().map(|(field, reason)| json!({ "field": field, "reason": reason }));
            fields.insert(UNKNOWN.to_owned(), unknown.collect());
        }
        Value::Object(fields)
    }

    /// Returns the fields of the facts that EKS did not say, and why.
    pub(crate) fn unknown(&self) -> Vec<(&'static str, &str)> {
        let Self { arn, version, auth_mode, node_roles, unknown_access_entries } = self;
        let reasons = [
            (ARN, arn.unknown_reason()),
            (KUBERNETES_VERSION, version.unknown_reason()),
            (AUTH_MODE, auth_mode.unknown_reason()),
            (NODE_ROLES, node_roles.unknown_reason()),
            (ACCESS_ENTRIES, unknown_access_entries.as_deref()),
        ];
        reasons.into_iter().filter_map(|(field, reason)| Some((field, reason?))).collect()
    }

    /// Returns the status of the access entries of the snapshot.
    pub(crate) fn access_entries_status(&self) -> AccessEntriesStatus {
        match &self.unknown_access_entries {
            Some(reason) => AccessEntriesStatus::Unknown(format!("the snapshot does not have them: {reason}")),
            None if self.auth_mode.known().is_some() => AccessEntriesStatus::Known,
            None => AccessEntriesStatus::NotAsked,
        }
    }

    pub(crate) fn observed_auth_mode(&self) -> ObservedAuthMode {
        match &self.auth_mode {
            Observed::Known(mode) => ObservedAuthMode::Known(mode.clone()),
            Observed::Unknown(reason) => ObservedAuthMode::Unknown(format!("the snapshot does not have it: {reason}")),
        }
    }
}

/// Reads facts. Each has a value or a reason why it has none, so that no document leaves one out silently.
struct FactReader<'a> {
    fields: &'a Map<String, Value>,
    unknown: &'a BTreeMap<&'a str, &'a str>,
}

impl FactReader<'_> {
    fn read<T>(
        &self,
        field: &str,
        expected: &str,
        parse: impl FnOnce(&Value) -> Option<T>,
    ) -> Result<Observed<T>, String> {
        match (self.fields.get(field), self.unknown.get(field)) {
            (Some(value), None) => {
                parse(value).map(Observed::Known).ok_or_else(|| format!("{field}: expected {expected}"))
            }
            (None, Some(reason)) => Ok(Observed::Unknown((*reason).to_owned())),
            (Some(_), Some(_)) => Err(format!("{field}: it has a value, and is in `{UNKNOWN}`")),
            (None, None) => {
                Err(format!("{field}: required field is missing; if it is not known, list it in `{UNKNOWN}`"))
            }
        }
    }
}

/// Reads the reasons why facts are not known.
fn parse_unknown(value: Option<&Value>) -> Result<BTreeMap<&str, &str>, String> {
    let parse = |item| {
        let [field, reason] = text_fields(item, ["field", "reason"])?;
        [ARN, KUBERNETES_VERSION, AUTH_MODE, NODE_ROLES, ACCESS_ENTRIES].contains(&field).then_some((field, reason))
    };
    let mut unknown = BTreeMap::new();
    let is_valid = match value {
        None => true,
        Some(Value::Array(items)) => items.iter().all(|item| match parse(item) {
            Some((field, reason)) => unknown.insert(field, reason).is_none(),
            None => false,
        }),
        Some(_) => false,
    };
    if is_valid {
        Ok(unknown)
    } else {
        Err(format!("{UNKNOWN}: expected a list with `field`, the name of a field of {KIND}, and `reason`"))
    }
}

fn parse_node_role(value: &Value) -> Option<(String, NodeRoleUse)> {
    let role_and = |key| text_fields(value, ["role", key]).map(|[role, name]| (role, name.to_owned()));
    let (role, used_by) = if let Some((role, name)) = role_and(NODE_GROUP) {
        (role, NodeRoleUse::NodeGroup(name))
    } else if let Some((role, name)) = role_and(FARGATE_PROFILE) {
        (role, NodeRoleUse::FargateProfile(name))
    } else {
        let fields =
            value.as_object().filter(|fields| fields.len() == 2 && fields.get(AUTO_MODE) == Some(&json!(true)))?;
        (fields.get("role")?.as_str()?, NodeRoleUse::AutoMode)
    };
    IamIdentity::parse(role).ok()?;
    Some((role.to_owned(), used_by))
}

/// Returns the values of the keys. `None` if one is not a text, or if there are other keys.
fn text_fields<'v>(value: &'v Value, [first, second]: [&str; 2]) -> Option<[&'v str; 2]> {
    let fields = value.as_object().filter(|fields| fields.len() == 2)?;
    Some([fields.get(first)?.as_str()?, fields.get(second)?.as_str()?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml;

    const DOCUMENT: &str = "\
apiVersion: rolecall/v1
kind: EksCluster
arn: arn:aws:eks:eu-west-1:111122223333:cluster/prod
version: \"1.36\"
authentication-mode: API_AND_CONFIG_MAP
node-roles:
- role: arn:aws:iam::111122223333:role/eks/workers
  node-group: spot
- role: arn:aws:iam::111122223333:role/pods
  fargate-profile: batch
- role: arn:aws:iam::111122223333:role/auto
  auto-mode: true
";

    fn read(text: &str) -> Result<Option<EksFacts>, String> {
        let documents = yaml::parse_documents(text).unwrap();
        EksFacts::from_document(&documents[0].to_json().unwrap())
    }

    fn error(text: &str) -> String {
        read(text).unwrap_err()
    }

    #[test]
    fn document_is_read_as_it_was_written() {
        let facts = read(DOCUMENT).unwrap().unwrap();
        assert_eq!(yaml::to_yaml(&facts.to_document()), DOCUMENT);
        assert_eq!(facts.observed_auth_mode(), ObservedAuthMode::Known(ClusterAuthMode::ApiAndConfigMap));
        let mut partial = facts;
        partial.node_roles = Observed::Unknown("you are not allowed".to_owned());
        partial.auth_mode = Observed::Unknown("you are not allowed".to_owned());
        let text = yaml::to_yaml(&partial.to_document());
        let again = read(&text).unwrap().unwrap();
        assert_eq!(yaml::to_yaml(&again.to_document()), text);
        assert_eq!(
            again.unknown(),
            [("authentication-mode", "you are not allowed"), ("node-roles", "you are not allowed")]
        );
        let reason = "the snapshot does not have it: you are not allowed".to_owned();
        assert_eq!(again.observed_auth_mode(), ObservedAuthMode::Unknown(reason));
    }

    #[test]
    fn access_entries_can_be_unknown() {
        let text = format!("{DOCUMENT}unknown:\n- field: access-entries\n  reason: denied\n");
        let facts = read(&text).unwrap().unwrap();
        assert_eq!(yaml::to_yaml(&facts.to_document()), text);
        let reason = "the snapshot does not have them: denied".to_owned();
        assert_eq!(facts.access_entries_status(), AccessEntriesStatus::Unknown(reason));
        assert_eq!(read(DOCUMENT).unwrap().unwrap().access_entries_status(), AccessEntriesStatus::Known);
    }

    #[test]
    fn fact_without_a_value_and_a_reason_is_an_error() {
        for field in ["arn", "version", "authentication-mode"] {
            let without: String =
                DOCUMENT.lines().filter(|line| !line.starts_with(field)).map(|line| format!("{line}\n")).collect();
            assert!(error(&without).starts_with(&format!("EksCluster: {field}: required field is missing")));
        }
        let both = format!("{DOCUMENT}unknown: [{{ field: arn, reason: denied }}]\n");
        assert_eq!(error(&both), "EksCluster: arn: it has a value, and is in `unknown`");
    }

    #[test]
    fn invalid_document_is_refused_without_its_values() {
        let with = |from: &str, to: &str| error(&DOCUMENT.replacen(from, to, 1));
        for (from, to, message) in [
            ("arn:aws:eks", "secret", "arn: expected the ARN of an EKS cluster"),
            ("\"1.36\"", "secret", "version: expected a version, in quotes"),
            ("API_AND_CONFIG_MAP", "secret", "authentication-mode: expected such as CONFIG_MAP"),
            ("arn:aws:iam::111122223333:role/pods", "secret", "node-roles: expected a list"),
            ("auto-mode: true", "auto-mode: false", "node-roles: expected a list"),
            ("node-group: spot", "node-group: spot\n  secret: 1", "node-roles: expected a list"),
            ("kind: EksCluster", "kind: EksCluster\nunknown: [secret]", "unknown: expected a list"),
            ("kind: EksCluster", "kind: EksCluster\nnew-field: secret", "new-field: unknown field; a newer rolecall"),
        ] {
            let error = with(from, to);
            assert!(error.starts_with(&format!("EksCluster: {message}")) && !error.contains("secret"), "{error}");
        }
        assert_eq!(
            with("rolecall/v1", "rolecall/v2"),
            "EksCluster of rolecall/v2 is of a newer rolecall: this one reads EksCluster of rolecall/v1"
        );
        assert_eq!(
            with("EksCluster", "NewKind"),
            "NewKind of rolecall/v1 is of a newer rolecall: this one reads EksCluster of rolecall/v1"
        );
        assert_eq!(with("apiVersion: rolecall/v1\n", ""), "apiVersion: expected `rolecall/v1` for EksCluster");
    }

    #[test]
    fn document_of_the_reference_is_valid() {
        let page = include_str!("../../docs/reference/snapshots.md");
        let block = page.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
        assert_eq!(yaml::to_yaml(&read(block).unwrap().unwrap().to_document()).lines().count(), block.lines().count());
    }

    #[test]
    fn object_of_another_api_is_not_a_document_of_rolecall() {
        assert!(read(&DOCUMENT.replace("rolecall/v1", "example.com/v1")).unwrap().is_none());
        assert!(read("apiVersion: rolecall/v4\nkind: Backup\n").unwrap().is_none());
        assert!(read("apiVersion: rolecall/v1\nkind: AccessEntry\n").unwrap().is_none());
    }
}
