//! YAML anchors and their aliases. An edit of an anchored value would also change every entry that refers to the anchor,
//! so such an edit is rejected before anything is written.

use std::collections::BTreeMap;

use crate::yaml::{YamlNode, YamlValue};

use super::EditError;

/// The aliases of each anchor.
pub(super) struct AnchorUses {
    /// By anchor number: byte offset and line of each alias that the edit keeps.
    aliases: BTreeMap<usize, Vec<(usize, usize)>>,
}

impl AnchorUses {
    /// Collects the aliases in the list elements that the edit keeps.
    pub(super) fn from_nodes<'n>(elements: impl Iterator<Item = &'n YamlNode>) -> Self {
        let mut aliases: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for element in elements {
            element.walk(&mut |node| {
                if let YamlValue::Alias(anchor) = &node.value {
                    aliases.entry(anchor.number).or_default().push((node.span.start, node.line));
                }
            });
        }
        Self { aliases }
    }

    /// Rejects the removal of a node if an alias outside of it refers to an anchor inside of it.
    pub(super) fn check_removal(&self, node: &YamlNode) -> Result<(), EditError> {
        let mut result = Ok(());
        node.walk(&mut |inner| {
            if result.is_ok() {
                result = self.check_unused(inner, |alias_start| !node.span.contains(&alias_start));
            }
        });
        result
    }

    /// Rejects a change of a node if any alias refers to its own anchor.
    pub(super) fn check_change(&self, node: &YamlNode) -> Result<(), EditError> {
        self.check_unused(node, |_| true)
    }

    fn check_unused(&self, node: &YamlNode, counts: impl Fn(usize) -> bool) -> Result<(), EditError> {
        let Some(anchor) = &node.anchor else {
            return Ok(());
        };
        let mut aliases = self.aliases.get(&anchor.number).into_iter().flatten();
        match aliases.find(|(start, _)| counts(*start)) {
            None => Ok(()),
            Some((_, used_on)) => {
                Err(EditError::AnchorInUse { anchor: anchor.name.clone(), line: node.line, used_on: *used_on })
            }
        }
    }
}
