//! The documents of a snapshot that are not objects of the access configuration: facts that a live cluster is asked for.

use serde_json::Value;

use super::eks_facts::EksFacts;
use super::snapshot::ObjectLocation;
use crate::api_resources::{DISCOVERY_KIND, KnownResources};

/// The facts, and the documents that they were read from.
#[derive(Default)]
pub(super) struct SnapshotFacts {
    discovery: Option<(KnownResources, Value)>,
    eks: Option<EksDocument>,
}

/// What EKS said, its document and where that is.
struct EksDocument {
    facts: EksFacts,
    document: Value,
    location: ObjectLocation,
}

impl SnapshotFacts {
    /// Adds a document. Returns whether it has facts.
    ///
    /// # Errors
    /// If the document is not valid, or if an earlier one says the same of EKS.
    pub(super) fn add(&mut self, value: &Value, location: ObjectLocation) -> Result<bool, String> {
        if value.get("kind").and_then(Value::as_str) == Some(DISCOVERY_KIND) {
            let known = KnownResources::from_discovery_json(value);
            let known = known.ok_or_else(|| format!("not a valid {DISCOVERY_KIND}"))?;
            self.discovery = Some((known, value.clone()));
            return Ok(true);
        }
        let Some(facts) = EksFacts::from_document(value)? else {
            return Ok(false);
        };
        if self.eks.is_some() {
            return Err("duplicate EksCluster: an earlier document describes the cluster".to_owned());
        }
        self.eks = Some(EksDocument { facts, document: value.clone(), location });
        Ok(true)
    }

    /// Returns the resources of the cluster's API. Without its discovery, only those of Kubernetes itself.
    pub(super) fn resources(&self) -> KnownResources {
        self.discovery.as_ref().map(|(known, _)| known.clone()).unwrap_or_default()
    }

    pub(super) fn eks(&self) -> Option<&EksFacts> {
        self.eks.as_ref().map(|eks| &eks.facts)
    }

    pub(super) fn eks_with_location(&self) -> Option<(&EksFacts, ObjectLocation)> {
        self.eks.as_ref().map(|eks| (&eks.facts, eks.location))
    }

    /// Replaces what EKS said, and returns its document.
    pub(super) fn set_eks(&mut self, facts: EksFacts) -> Value {
        let document = facts.to_document();
        if let Some(eks) = &mut self.eks {
            (eks.facts, eks.document) = (facts, document.clone());
        }
        document
    }

    /// Returns the documents as they are in the files.
    pub(super) fn documents(&self) -> impl Iterator<Item = &Value> {
        let discovery = self.discovery.as_ref().map(|(_, document)| document);
        discovery.into_iter().chain(self.eks.as_ref().map(|eks| &eks.document))
    }
}
