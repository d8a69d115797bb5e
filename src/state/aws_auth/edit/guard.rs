//! Anchors tie places of a text together. An edit that would reach another entry through one is
//! refused here, before anything is written.

use std::collections::BTreeMap;

use crate::yaml::{Node, Value};

use super::EditError;

/// Where each anchor is used.
pub(super) struct Uses {
    /// By the number of the anchor: byte and line of each alias that stays.
    places: BTreeMap<usize, Vec<(usize, usize)>>,
}

impl Uses {
    /// Collects the aliases outside of the elements that go.
    pub(super) fn of<'n>(elements: impl Iterator<Item = &'n Node>) -> Self {
        let mut places: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
        for element in elements {
            element.walk(&mut |node| {
                if let Value::Alias(anchor) = &node.value {
                    let place = (node.span.start, node.line);
                    places.entry(anchor.number).or_default().push(place);
                }
            });
        }
        Self { places }
    }

    /// Refuses to take away what others refer to.
    pub(super) fn allow_removal(&self, node: &Node) -> Result<(), EditError> {
        let mut verdict = Ok(());
        node.walk(&mut |inner| {
            if verdict.is_ok() {
                verdict = self.allow(inner, |place| !node.span.contains(&place));
            }
        });
        verdict
    }

    /// Refuses to change what others refer to as a whole.
    pub(super) fn allow_change(&self, node: &Node) -> Result<(), EditError> {
        self.allow(node, |_| true)
    }

    fn allow(&self, node: &Node, counts: impl Fn(usize) -> bool) -> Result<(), EditError> {
        let Some(anchor) = &node.anchor else {
            return Ok(());
        };
        let uses = self.places.get(&anchor.number);
        let use_there = uses.and_then(|uses| uses.iter().find(|(place, _)| counts(*place)));
        match use_there {
            None => Ok(()),
            Some((_, used_on)) => {
                Err(EditError::AnchorInUse { anchor: anchor.name.clone(), line: node.line, used_on: *used_on })
            }
        }
    }
}
