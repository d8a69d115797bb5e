//! Converts a decoded tree into JSON, as sigs.k8s.io/yaml does for Kubernetes.

use serde_json::{Map, Number, Value as Json};

use super::decode::{Decoded, DecodedNode};
use super::error::YamlError;
use super::node::YamlDocument;
use super::resolve::ScalarValue;

impl YamlDocument {
    /// Returns the document as JSON with sorted keys.
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        self.decode()?.to_json()
    }
}

impl DecodedNode<'_> {
    /// Returns the value as JSON with sorted keys.
    ///
    /// # Errors
    /// Infinity, NaN, and the mappings that are [`Decoded::Invalid`].
    pub(crate) fn to_json(&self) -> Result<Json, YamlError> {
        Ok(match &self.content {
            Decoded::Scalar(ScalarValue::Null) => Json::Null,
            Decoded::Scalar(ScalarValue::Bool(boolean)) => Json::Bool(*boolean),
            Decoded::Scalar(ScalarValue::Int(number)) => Json::Number((*number).into()),
            Decoded::Scalar(ScalarValue::Uint(number)) => Json::Number((*number).into()),
            Decoded::Scalar(ScalarValue::Float(number)) => Number::from_f64(*number)
                .map(Json::Number)
                .ok_or_else(|| self.node.error("JSON cannot represent this number"))?,
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
