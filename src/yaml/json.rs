//! A resolved tree as JSON, as sigs.k8s.io/yaml hands it to Kubernetes.

use serde_json::{Map, Number, Value as Json};

use super::decode::{Resolved, Sense};
use super::error::YamlError;
use super::node::Document;
use super::resolve::Meaning;

impl Document {
    /// The document as JSON, its keys sorted.
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        self.resolve()?.to_json()
    }
}

impl Resolved<'_> {
    /// The value as JSON, its keys sorted. Fails on numbers that JSON lacks.
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        Ok(match &self.sense {
            Sense::One(Meaning::Null) => Json::Null,
            Sense::One(Meaning::Bool(truth)) => Json::Bool(*truth),
            Sense::One(Meaning::Int(number)) => Json::Number((*number).into()),
            Sense::One(Meaning::Uint(number)) => Json::Number((*number).into()),
            Sense::One(Meaning::Float(number)) => Number::from_f64(*number)
                .map(Json::Number)
                .ok_or_else(|| self.node.error("JSON cannot hold this number"))?,
            Sense::One(Meaning::Text(text)) => Json::String(text.clone().into_owned()),
            Sense::List(items) => {
                let items = items.iter().map(Resolved::to_json);
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Sense::Fields(fields) => {
                let mut map = Map::new();
                for field in fields {
                    map.insert(field.name.clone(), field.value.to_json()?);
                }
                Json::Object(map)
            }
            Sense::Broken(error) => return Err(error.clone()),
        })
    }
}
