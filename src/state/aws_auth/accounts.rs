//! mapAccounts, which the authenticator reads by other rules than the rest: go-yaml v2 straight into
//! a list of texts, so that `012345678901` keeps its zero and `yes` is the account `yes`.

use crate::yaml::{AnchorIndex, Decoder, ScalarValue, YamlDocument, YamlError, YamlNode, YamlValue};

/// An element, or the kind of what stands in its place and is left out.
pub(super) enum AccountElement {
    Text { text: String, null: bool },
    Ignored(&'static str),
}

/// What the list holds.
pub(super) struct DecodedAccounts {
    pub(super) items: Vec<AccountElement>,
    /// Decoding broke off here. The authenticator keeps what it had until then.
    pub(super) error: Option<YamlError>,
}

/// Decodes the root of a document. The error: it is no list.
pub(super) fn decode_accounts(document: &YamlDocument) -> Result<DecodedAccounts, YamlError> {
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
                    Err(broken) => {
                        let broken = Some(broken);
                        return Ok(DecodedAccounts { items, error: broken });
                    }
                }
            }
        }
        YamlValue::Scalar(_) => match root.scalar_value() {
            Some(Ok(ScalarValue::Null)) | None => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) => return Err(root.error("a list of accounts was expected")),
        },
        YamlValue::Mapping(_) | YamlValue::Alias(_) => {
            return Err(root.error("a list of accounts was expected"));
        }
    }
    let broken = None;
    Ok(DecodedAccounts { items, error: broken })
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
