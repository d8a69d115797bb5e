//! mapAccounts, which the authenticator reads by other rules than the rest: go-yaml v2 straight into
//! a list of texts, so that `012345678901` keeps its zero and `yes` is the account `yes`.

use crate::yaml::{Anchors, Decoder, Document, Meaning, Node, Value, YamlError};

/// An element, or the kind of what stands in its place and is left out.
pub(super) enum Account {
    Text { text: String, null: bool },
    Dropped(&'static str),
}

/// What the list holds.
pub(super) struct Accounts {
    pub(super) items: Vec<Account>,
    /// Decoding broke off here. The authenticator keeps what it had until then.
    pub(super) broken: Option<YamlError>,
}

/// Decodes the root of a document. The error: it is no list.
pub(super) fn decode(document: &Document) -> Result<Accounts, YamlError> {
    let anchors = Anchors::of(document);
    let mut decoder = Decoder::new(&anchors);
    let root = &document.root;
    decoder.enter(root)?;
    let mut items = Vec::new();
    match &root.value {
        Value::Sequence(sequence) => {
            for item in &sequence.items {
                match element(&mut decoder, &item.node) {
                    Ok(account) => items.push(account),
                    Err(broken) => {
                        let broken = Some(broken);
                        return Ok(Accounts { items, broken });
                    }
                }
            }
        }
        Value::Scalar(_) => match root.meaning() {
            Some(Ok(Meaning::Null)) | None => {}
            Some(Err(error)) => return Err(error),
            Some(Ok(_)) => return Err(root.error("a list of accounts was expected")),
        },
        Value::Mapping(_) | Value::Alias(_) => {
            return Err(root.error("a list of accounts was expected"));
        }
    }
    let broken = None;
    Ok(Accounts { items, broken })
}

fn element<'d>(decoder: &mut Decoder<'_, 'd>, node: &'d Node) -> Result<Account, YamlError> {
    decoder.enter(node)?;
    let account = match &node.value {
        Value::Alias(_) => decoder.follow(node, |decoder, target| element(decoder, target))?,
        Value::Sequence(_) => Account::Dropped("a list"),
        Value::Mapping(_) => Account::Dropped("a mapping"),
        Value::Scalar(scalar) => match node.meaning().unwrap_or(Ok(Meaning::Null))? {
            Meaning::Null => Account::Text { text: String::new(), null: true },
            Meaning::Text(text) => Account::Text { text: text.into_owned(), null: false },
            Meaning::Bool(_) | Meaning::Int(_) | Meaning::Uint(_) | Meaning::Float(_) => {
                Account::Text { text: scalar.text.clone(), null: false }
            }
        },
    };
    decoder.leave();
    Ok(account)
}
