//! The types that several documents use: locations in the policy, Kubernetes objects and rules, and subjects.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::InvalidDocument;
use crate::access::SubjectQuery;
use crate::diagnostic::SourceLocation;
use crate::names::{ObjectKey, ObjectKind};
use crate::plan::AffectedSubject;
use crate::state::aws_auth::Section;
use crate::state::rbac::Rule;

/// A location in a policy file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct LocationJson {
    /// The file as it was named on the command line. Directories are separated by `/`.
    pub(crate) file: String,
    /// The line, counted from 1.
    #[schemars(range(min = 1))]
    pub(crate) line: usize,
    /// The column in characters, counted from 1.
    #[schemars(range(min = 1))]
    pub(crate) column: usize,
}

impl From<&SourceLocation> for LocationJson {
    fn from(location: &SourceLocation) -> Self {
        let SourceLocation { file, line, column } = location;
        Self { file: file.clone(), line: *line, column: *column }
    }
}

impl From<LocationJson> for SourceLocation {
    fn from(location: LocationJson) -> Self {
        let LocationJson { file, line, column } = location;
        Self { file, line, column }
    }
}

/// A Kubernetes object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ObjectJson {
    /// The kind of the object.
    pub(crate) kind: ObjectKindJson,
    /// The namespace of the object, or null if the kind is cluster-scoped.
    pub(crate) namespace: Option<String>,
    /// The name of the object.
    #[schemars(length(min = 1))]
    pub(crate) name: String,
}

/// The kinds of objects that a document can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum ObjectKindJson {
    Namespace,
    ConfigMap,
    AccessEntry,
    ClusterRole,
    Role,
    AccessPolicy,
    ClusterRoleBinding,
    RoleBinding,
    AccessPolicyAssociation,
}

impl From<ObjectKind> for ObjectKindJson {
    fn from(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Namespace => Self::Namespace,
            ObjectKind::ConfigMap => Self::ConfigMap,
            ObjectKind::AccessEntry => Self::AccessEntry,
            ObjectKind::ClusterRole => Self::ClusterRole,
            ObjectKind::Role => Self::Role,
            ObjectKind::AccessPolicy => Self::AccessPolicy,
            ObjectKind::ClusterRoleBinding => Self::ClusterRoleBinding,
            ObjectKind::RoleBinding => Self::RoleBinding,
            ObjectKind::AccessPolicyAssociation => Self::AccessPolicyAssociation,
        }
    }
}

impl From<ObjectKindJson> for ObjectKind {
    fn from(kind: ObjectKindJson) -> Self {
        match kind {
            ObjectKindJson::Namespace => Self::Namespace,
            ObjectKindJson::ConfigMap => Self::ConfigMap,
            ObjectKindJson::AccessEntry => Self::AccessEntry,
            ObjectKindJson::ClusterRole => Self::ClusterRole,
            ObjectKindJson::Role => Self::Role,
            ObjectKindJson::AccessPolicy => Self::AccessPolicy,
            ObjectKindJson::ClusterRoleBinding => Self::ClusterRoleBinding,
            ObjectKindJson::RoleBinding => Self::RoleBinding,
            ObjectKindJson::AccessPolicyAssociation => Self::AccessPolicyAssociation,
        }
    }
}

impl ObjectJson {
    /// Such as `ClusterRole`.
    pub(crate) fn kind_name(&self) -> &'static str {
        ObjectKind::from(self.kind).as_str()
    }

    /// The kind as in the text of a plan, such as `access entry` or `ClusterRole`.
    pub(crate) fn kind_label(&self) -> &'static str {
        ObjectKind::from(self.kind).label()
    }

    /// `NAMESPACE/NAME`, or the name of a cluster-scoped object.
    pub(crate) fn path(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl From<&ObjectKey> for ObjectJson {
    fn from(key: &ObjectKey) -> Self {
        Self { kind: key.kind().into(), namespace: key.namespace().map(str::to_owned), name: key.name().to_owned() }
    }
}

impl TryFrom<ObjectJson> for ObjectKey {
    type Error = InvalidDocument;

    fn try_from(object: ObjectJson) -> Result<Self, InvalidDocument> {
        let ObjectJson { kind, namespace, name } = object;
        let kind = ObjectKind::from(kind);
        Self::new(kind, namespace.as_deref(), &name).ok_or_else(|| {
            let scope = if kind.is_namespaced() {
                "needs a namespace"
            } else {
                "is cluster-scoped and cannot have a namespace"
            };
            InvalidDocument(format!("the {} `{name}` {scope}", kind.as_str()))
        })
    }
}

/// A section of aws-auth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub(crate) enum SectionJson {
    #[serde(rename = "mapRoles")]
    Roles,
    #[serde(rename = "mapUsers")]
    Users,
    #[serde(rename = "mapAccounts")]
    Accounts,
}

impl SectionJson {
    /// Such as `aws-auth role`.
    pub(crate) fn entry_label(self) -> &'static str {
        match self {
            Self::Roles => "aws-auth role",
            Self::Users => "aws-auth user",
            Self::Accounts => "aws-auth account",
        }
    }
}

impl From<Section> for SectionJson {
    fn from(section: Section) -> Self {
        match section {
            Section::Roles => Self::Roles,
            Section::Users => Self::Users,
            Section::Accounts => Self::Accounts,
        }
    }
}

impl From<SectionJson> for Section {
    fn from(section: SectionJson) -> Self {
        match section {
            SectionJson::Roles => Self::Roles,
            SectionJson::Users => Self::Users,
            SectionJson::Accounts => Self::Accounts,
        }
    }
}

/// A subject, and the name that the policy gives it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct SubjectJson {
    /// An IAM ARN, `account:ID`, `user:NAME`, `group:NAME` or `sa:NAMESPACE/NAME`.
    pub(crate) subject: String,
    /// The name of the principal in the policy, or null if the policy does not name it.
    pub(crate) principal_name: Option<String>,
}

impl From<&AffectedSubject> for SubjectJson {
    fn from(affected: &AffectedSubject) -> Self {
        let AffectedSubject { subject, name } = affected;
        Self { subject: subject.clone(), principal_name: name.clone() }
    }
}

impl From<SubjectJson> for AffectedSubject {
    fn from(subject: SubjectJson) -> Self {
        let SubjectJson { subject, principal_name } = subject;
        Self { subject, name: principal_name }
    }
}

/// Returns the subject in the form that [`SubjectQuery::parse`] reads. The ARN of a session becomes the ARN of its
/// role, which is what the authenticator compares.
pub(super) fn subject_text(subject: &SubjectQuery) -> String {
    match subject {
        SubjectQuery::Arn(identity) => identity.canonical().to_owned(),
        other => other.to_string(),
    }
}

pub(super) fn parse_subject(text: &str) -> Result<SubjectQuery, InvalidDocument> {
    SubjectQuery::parse(text).map_err(|error| InvalidDocument(format!("`{text}` is not a valid subject: {error}")))
}

/// A rule of a Role or ClusterRole, as Kubernetes writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RuleJson {
    /// The verbs that the rule allows.
    verbs: Vec<String>,
    /// The API groups of the resources. The core group is the empty string.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    api_groups: Vec<String>,
    /// The resources, with `resource/subresource` for a subresource.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resources: Vec<String>,
    /// The names of the objects. Without this key the rule applies to all names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resource_names: Vec<String>,
    /// URLs that are not resources. Only a ClusterRole can have them.
    #[serde(rename = "nonResourceURLs", default, skip_serializing_if = "Vec::is_empty")]
    non_resource_urls: Vec<String>,
}

impl From<&Rule> for RuleJson {
    fn from(rule: &Rule) -> Self {
        let Rule { verbs, api_groups, resources, resource_names, non_resource_urls } = rule.clone();
        Self { verbs, api_groups, resources, resource_names, non_resource_urls }
    }
}
