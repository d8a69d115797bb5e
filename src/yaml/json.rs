//! A resolved tree as JSON, as sigs.k8s.io/yaml hands it to Kubernetes.

use serde_json::{Map, Number, Value as Json};

use super::decode::{Decoded, DecodedNode};
use super::error::YamlError;
use super::node::YamlDocument;
use super::resolve::ScalarValue;

impl YamlDocument {
    /// The document as JSON, its keys sorted.
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        self.decode()?.to_json()
    }
}

impl DecodedNode<'_> {
    /// The value as JSON, its keys sorted. Fails on numbers that JSON lacks.
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        Ok(match &self.content {
            Decoded::Scalar(ScalarValue::Null) => Json::Null,
            Decoded::Scalar(ScalarValue::Bool(truth)) => Json::Bool(*truth),
            Decoded::Scalar(ScalarValue::Int(number)) => Json::Number((*number).into()),
            Decoded::Scalar(ScalarValue::Uint(number)) => Json::Number((*number).into()),
            Decoded::Scalar(ScalarValue::Float(number)) => Number::from_f64(*number)
                .map(Json::Number)
                .ok_or_else(|| self.node.error("JSON cannot hold this number"))?,
            Decoded::Scalar(ScalarValue::Text(text)) => Json::String(text.clone().into_owned()),
            Decoded::Sequence(items) => {
                let items = items.iter().map(DecodedNode::to_json);
                Json::Array(items.collect::<Result<_, _>>()?)
            }
            Decoded::Mapping(fields) => {
                let mut map = Map::new();
                for field in fields {
                    map.insert(field.name.clone(), field.value.to_json()?);
                }
                Json::Object(map)
            }
            Decoded::Invalid(error) => return Err(error.clone()),
        })
    }
}
