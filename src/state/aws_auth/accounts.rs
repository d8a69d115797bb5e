//! Decodes mapAccounts. The authenticator decodes it differently from the other sections: go-yaml v2 decodes it directly
//! into a list of strings, without JSON in between. So `012345678901` keeps its leading zero, and `yes` is the account
//! `yes`.

use crate::yaml::{AnchorIndex, Decoder, ScalarValue, YamlDocument, YamlError, YamlNode, YamlValue};

/// One element of the list.
pub(super) enum AccountElement {
    Text {
        text: String,
        null: bool,
    },
    /// The element is not a scalar and go-yaml leaves it out. The text names its type.
    Ignored(&'static str),
}

/// The elements of the list.
pub(super) struct DecodedAccounts {
    pub(super) items: Vec<AccountElement>,
    /// The error that ended decoding. The authenticator keeps the elements before it.
    pub(super) error: Option<YamlError>,
}

/// Decodes the root of a document.
///
/// # Errors
/// The root is not a list.
pub(super) fn decode_map_accounts(document: &YamlDocument) -> Result<DecodedAccounts, YamlError> {
    let anchors = AnchorIndex::from_document(document);
    let mut decoder = Decoder::new(&anchors);
    let root = &document.root;
    decoder.enter(root)?;
    let mut items = Vec::new();
    match &root.value {
        YamlValue::Sequence(sequence) => {
            for item in &sequence.items {
                match decode_account(&mut decoder, &item.node) {
                    Ok(account) => items.push(account),
                    Err(error) => return Ok(DecodedAccounts { items, error: Some(error) }),
                }
            }
        }
        YamlValue::Scalar(_) => match root.scalar_value() {
            Some(Ok(ScalarValue::Null)) | None => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) => return Err(root.error("expected a list of accounts")),
        },
        YamlValue::Mapping(_) | YamlValue::Alias(_) => {
            return Err(root.error("expected a list of accounts"));
        }
    }
    Ok(DecodedAccounts { items, error: None })
}

fn decode_account<'d>(decoder: &mut Decoder<'_, 'd>, node: &'d YamlNode) -> Result<AccountElement, YamlError> {
    decoder.enter(node)?;
    let account = match &node.value {
        YamlValue::Alias(_) => decoder.follow_alias(node, |decoder, target| decode_account(decoder, target))?,
        YamlValue::Sequence(_) => AccountElement::Ignored("a list"),
        YamlValue::Mapping(_) => AccountElement::Ignored("a mapping"),
        YamlValue::Scalar(scalar) => match node.scalar_value().unwrap_or(Ok(ScalarValue::Null))? {
            ScalarValue::Null => AccountElement::Text { text: String::new(), null: true },
            ScalarValue::Text(text) => AccountElement::Text { text: text.into_owned(), null: false },
            ScalarValue::Bool(_) | ScalarValue::Int(_) | ScalarValue::Uint(_) | ScalarValue::Float(_) => {
                AccountElement::Text { text: scalar.text.clone(), null: false }
            }
        },
    };
    decoder.leave();
    Ok(account)
}
