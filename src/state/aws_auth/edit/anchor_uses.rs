//! Anchors tie places of a text together. An edit that would reach another entry through one is
//! refused here, before anything is written.

use std::collections::BTreeMap;

use crate::yaml::{YamlNode, YamlValue};

use super::EditError;

/// Where each anchor is used.
pub(super) struct AnchorUses {
    /// By the number of the anchor: byte and line of each alias that stays.
    aliases: BTreeMap<usize, Vec<(usize, usize)>>,
}

impl AnchorUses {
    /// Collects the aliases outside of the elements that go.
    pub(super) fn from_nodes<'n>(elements: impl Iterator<Item = &'n YamlNode>) -> Self {
        let mut places: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for element in elements {
            element.walk(&mut |node| {
                if let YamlValue::Alias(anchor) = &node.value {
                    let place = (node.span.start, node.line);
                    places.entry(anchor.number).or_default().push(place);
                }
            });
        }
        Self { aliases: places }
    }

    /// Refuses to take away what others refer to.
    pub(super) fn check_removal(&self, node: &YamlNode) -> Result<(), EditError> {
        let mut verdict = Ok(());
        node.walk(&mut |inner| {
            if verdict.is_ok() {
                verdict = self.check_unused(inner, |place| !node.span.contains(&place));
            }
        });
        verdict
    }

    /// Refuses to change what others refer to as a whole.
    pub(super) fn check_change(&self, node: &YamlNode) -> Result<(), EditError> {
        self.check_unused(node, |_| true)
    }

    fn check_unused(&self, node: &YamlNode, counts: impl Fn(usize) -> bool) -> Result<(), EditError> {
        let Some(anchor) = &node.anchor else {
            return Ok(());
        };
        let uses = self.aliases.get(&anchor.number);
        let use_there = uses.and_then(|uses| uses.iter().find(|(place, _)| counts(*place)));
        match use_there {
            None => Ok(()),
            Some((_, used_on)) => {
                Err(EditError::AnchorInUse { anchor: anchor.name.clone(), line: node.line, used_on: *used_on })
            }
        }
    }
}
