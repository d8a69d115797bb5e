//! Assigns stages to writes of one phase that both grant and revoke access.

use std::collections::{BTreeMap, BTreeSet};

/// Assigns stages to writes that both grant and revoke.
pub(super) struct StageAllocator {
    first: usize,
    last: Option<usize>,
    /// For each class, the last stage that affects it.
    last_stage_of: BTreeMap<usize, usize>,
}

impl StageAllocator {
    /// Returns an allocator of which the first stage is `first`.
    pub(super) fn new(first: usize) -> Self {
        Self { first, last: None, last_stage_of: BTreeMap::new() }
    }

    /// Returns the stage of a write that affects these classes. With `keep_order`, a stage of its own after all others.
    pub(super) fn place(&mut self, affected: &BTreeSet<usize>, keep_order: bool) -> usize {
        let after = affected.iter().filter_map(|class| self.last_stage_of.get(class)).max().copied();
        let stage = if keep_order { self.last } else { after }.map_or(self.first, |stage| stage + 1);
        self.last_stage_of.extend(affected.iter().map(|class| (*class, stage)));
        self.last = self.last.max(Some(stage));
        stage
    }
}
