//! The search: what may be written now is written, the phases in their usual order; what is stuck is split.
//!
//! Writes of one stage all give or all take, or concern nobody in common: then every part of them made alone leaves
//! everybody between two states that were looked at.

use std::collections::{BTreeMap, BTreeSet};

use super::classes::{Class, classes, framed};
use super::emission;
use super::forms::{BindingForm, Direction, OrderEffect, RoleForm};
use super::frame::{Beginning, Frame};
use super::items::{Act, OrderItem, OrderItemKind, Progress, bound, items, make_all, named};
use super::world::OrderWorld;
use super::{Author, PHASES, PendingWrite, Phase, Turn};
use crate::access::SubjectQuery;
use crate::plan::Step;
use crate::plan::entries::aws_auth_edit::{AwsAuthEdit, EntryVariant};
use crate::plan::probes::{AccessProbe, AccessWindow};
use crate::state::State;

/// Questions of one step; those of aws-auth are about many.
pub(super) const ASKED: usize = 4;
const ASKED_OF_MAPPING: usize = 16;
/// So many writes of aws-auth at most, before it is forced.
const MAPPINGS: usize = 6;

/// A write of the search.
#[derive(Debug, Clone)]
pub(super) enum What<'s> {
    Act(usize, Act),
    PartBinding(usize, BindingForm),
    PartRole(usize, RoleForm<'s>),
    PartMapping(Vec<EntryVariant>),
    TemporaryRole(usize, RoleForm<'s>),
    TemporaryBinding(usize, BindingForm),
    RoleAway(usize),
    BindingAway(usize),
}

#[derive(Debug, Clone)]
pub(super) struct Made<'s> {
    pub(super) stage: usize,
    pub(super) what: What<'s>,
    pub(super) awaits: Vec<AccessProbe>,
}

pub(super) struct Search<'s> {
    pub(super) planned: &'s [PendingWrite],
    pub(super) author: Author<'s>,
    pub(super) world: OrderWorld<'s>,
    pub(super) items: Vec<OrderItem<'s>>,
    pub(super) classes: Vec<Class>,
    pub(super) frames: Vec<Frame<'s>>,
    /// By subject, of all who log in with it and stand alike one.
    of_subject: BTreeMap<usize, BTreeSet<usize>>,
    /// Principals, whose logins aws-auth decides.
    pub(super) mapped: Vec<usize>,
    pub(super) splits: Option<&'s AwsAuthEdit>,
    pub(super) standings: Vec<EntryVariant>,
    /// What roles give in the end, where that is not what they give in the beginning.
    pub(super) last_gives: BTreeMap<usize, Vec<usize>>,
    pub(super) log: Vec<Made<'s>>,
    pub(super) stage: usize,
    /// Questions by the stage before which they are asked: a later one relies on what stands by then.
    pub(super) asked: BTreeSet<(usize, AccessProbe)>,
    pub(super) windows: Vec<AccessWindow>,
    /// Those who are out of their frame by a forced write.
    pub(super) excused: BTreeSet<usize>,
    /// Writes that were tried in vain, and whom they concerned: tried again when one of these has changed.
    blocked: BTreeMap<(usize, Try), (usize, BTreeSet<usize>)>,
    /// By frame, the number of writes when somebody in it last changed.
    changed: Vec<usize>,
}

/// What of an item was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Try {
    Whole,
    Shrink,
    Grow,
}

pub(super) fn search(
    planned: &[PendingWrite],
    live: &State,
    after: &State,
    author: Author<'_>,
) -> (Vec<Step>, Vec<AccessWindow>) {
    let mut search = Search::new(planned, live, after, author);
    search.run();
    let windows = std::mem::take(&mut search.windows);
    (emission::steps(&search, live, after), windows)
}

impl<'s> Search<'s> {
    fn new(planned: &'s [PendingWrite], live: &'s State, after: &'s State, author: Author<'s>) -> Self {
        let mut world = OrderWorld::of(live);
        let items = items(planned, after, &mut world);
        let mut touched = BTreeSet::new();
        let mut roles = BTreeSet::new();
        for item in &items {
            match &item.kind {
                OrderItemKind::Role { ix, .. } => roles.extend(world.dependents(*ix)),
                OrderItemKind::Binding { ix, last } => touched.extend(named(&world, *ix, last.as_ref())),
                OrderItemKind::Replace { ix, last, .. } => touched.extend(named(&world, *ix, Some(last))),
                OrderItemKind::Mapping => {}
            }
        }
        let mark = make_all(&mut world, &items);
        for item in &items {
            if let OrderItemKind::Role { ix, .. } = &item.kind {
                roles.extend(world.dependents(*ix));
            }
        }
        for role in &roles {
            touched.extend(bound(&world, *role));
        }
        let last_gives: BTreeMap<usize, Vec<usize>> =
            roles.iter().filter_map(|role| Some((*role, world.roles.get(*role)?.gives.to_vec()))).collect();
        world.undo(mark);
        for role in &roles {
            touched.extend(bound(&world, *role));
        }
        let mut classes = classes(&world, &touched, live, after);
        let framed = framed(&mut classes);
        let beginnings: Vec<Beginning> = framed.iter().map(|(first, _)| Beginning::of(first, &world)).collect();
        let mark = make_all(&mut world, &items);
        let sides = beginnings.into_iter().zip(framed);
        let frames: Vec<Frame<'s>> = sides.map(|(beginning, (_, last))| beginning.end(&last, &world)).collect();
        world.undo(mark);
        let splits = planned.iter().find_map(|one| match &one.turn {
            Turn::Map { splits, .. } => Some(&**splits),
            Turn::Create(_) | Turn::Patch { .. } | Turn::Delete | Turn::Replace { .. } => None,
        });
        let mapped = classes
            .iter()
            .enumerate()
            .filter(|(_, class)| matches!(class.who, SubjectQuery::Arn(_) | SubjectQuery::Account(_)));
        let mapped = mapped.map(|(number, _)| number).collect();
        let mut search = Self {
            planned,
            author,
            world,
            items,
            changed: vec![0; frames.len()],
            classes,
            frames,
            of_subject: BTreeMap::new(),
            mapped,
            splits,
            standings: vec![EntryVariant::Live; splits.map_or(0, |splits| splits.principal_edits.len())],
            last_gives,
            log: Vec::new(),
            stage: 0,
            asked: BTreeSet::new(),
            windows: Vec::new(),
            excused: BTreeSet::new(),
            blocked: BTreeMap::new(),
        };
        search.stand();
        search
    }

    /// Finds anew by which subjects everybody logs in.
    pub(super) fn stand(&mut self) {
        self.of_subject.clear();
        let mut seen = BTreeSet::new();
        for (number, class) in self.classes.iter().enumerate() {
            if seen.insert(class.standing()) {
                for subject in class.now.iter().flat_map(|login| &login.subjects) {
                    self.of_subject.entry(*subject).or_default().insert(number);
                }
            }
        }
    }

    /// Whether a write was tried in vain and nobody has changed since whom it concerned.
    pub(super) fn is_blocked(&self, number: usize, kind: Try) -> bool {
        self.blocked.get(&(number, kind)).is_some_and(|(at, touched)| {
            touched.iter().all(|frame| self.changed.get(*frame).is_none_or(|changed| changed <= at))
        })
    }

    pub(super) fn block(&mut self, number: usize, kind: Try, touched: &BTreeSet<usize>) {
        let frames = touched.iter().filter_map(|class| self.classes.get(*class)).map(|class| class.frame);
        self.blocked.insert((number, kind), (self.log.len(), frames.collect()));
    }

    /// Everything may be tried again.
    pub(super) fn unblock(&mut self) {
        self.blocked.clear();
    }

    fn run(&mut self) {
        loop {
            self.sweep();
            if self.is_done() {
                return;
            }
            if self.part_shrinks() || self.part_grows() || self.part_mapping() || self.unbridged() || self.construct() {
                continue;
            }
            self.force();
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.items.iter().all(|item| item.done)
    }

    /// Makes every write that may be made, until none is left that may.
    pub(super) fn sweep(&mut self) {
        loop {
            let before = self.log.len();
            for phase in PHASES {
                self.phase(phase);
            }
            if self.log.len() == before {
                return;
            }
        }
    }

    fn phase(&mut self, phase: Phase) {
        let waiting: Vec<usize> = (0..self.items.len())
            .filter(|number| self.items.get(*number).is_some_and(|item| !item.done && item.phase() == phase))
            .collect();
        if waiting.is_empty() {
            return;
        }
        let mut mixed = Vec::new();
        let mut left = Vec::new();
        for number in waiting {
            match self.attempt(number, &[Direction::Neutral, Direction::Grows], None) {
                Tried::Made => {}
                Tried::Other => left.push(number),
                Tried::Blocked => {}
            }
        }
        self.flush();
        for number in left {
            match self.attempt(number, &[Direction::Neutral, Direction::Shrinks], None) {
                Tried::Made | Tried::Blocked => {}
                Tried::Other => mixed.push(number),
            }
        }
        self.flush();
        self.mixed(mixed);
    }

    /// Each in the first stage in which nobody is concerned whom an earlier one concerns.
    fn mixed(&mut self, mixed: Vec<usize>) {
        let (first, start) = (self.stage, self.log.len());
        let mut stages = Stages { first, last: None, of: BTreeMap::new() };
        for number in mixed {
            self.attempt(number, &[Direction::Mixed], Some(&mut stages));
        }
        if let Some(made) = self.log.get_mut(start..) {
            made.sort_by_key(|made| made.stage);
        }
        let last = self.log.last().filter(|_| self.log.len() > start);
        self.stage = last.map_or(first, |made| made.stage + 1);
    }

    /// The next write begins a stage of its own.
    pub(super) fn flush(&mut self) {
        if self.log.last().is_some_and(|made| made.stage == self.stage) {
            self.stage += 1;
        }
    }

    /// Tries the next write of an item; it is taken back where it is of another direction or leads somebody out of his
    /// frame.
    fn attempt(&mut self, number: usize, directions: &[Direction], stages: Option<&mut Stages>) -> Tried {
        let Some(item) = self.items.get(number).filter(|item| self.is_enabled(item)).cloned() else {
            return Tried::Blocked;
        };
        if self.is_blocked(number, Try::Whole) {
            return Tried::Blocked;
        }
        let act = item.next();
        if let OrderItemKind::Mapping = item.kind {
            // aws-auth is one object: alone in its stage.
            let standings = vec![EntryVariant::Final; self.standings.len()];
            if !self.map(&standings, What::Act(number, act)) {
                // Where somebody would log in may change without him.
                self.block(number, Try::Whole, &(0..self.classes.len()).collect());
                return Tried::Blocked;
            }
            self.finish(number, act);
            self.flush();
            return Tried::Made;
        }
        let mark = self.world.mark();
        let effect = self.perform(&item, act);
        let touched = self.touched(&effect);
        if !directions.contains(&effect.direction) {
            self.world.undo(mark);
            return Tried::Other;
        }
        if !self.stay(&touched, &effect) {
            self.world.undo(mark);
            self.block(number, Try::Whole, &touched);
            return Tried::Blocked;
        }
        if let Some(stages) = stages {
            // Windows are told by the number of their step, which must stay.
            self.stage = stages.place(&touched, !self.excused.is_empty());
        }
        self.record(What::Act(number, act), &effect, &touched);
        self.finish(number, act);
        Tried::Made
    }

    /// A binding waits for its role; a role goes when every binding is gone that leaves it.
    pub(super) fn is_enabled(&self, item: &OrderItem<'_>) -> bool {
        let exists = |role: usize| self.world.roles.get(role).is_some_and(|slot| slot.form.is_some());
        let comes = |role: usize| {
            let is_it =
                |item: &OrderItem<'_>| matches!(&item.kind, OrderItemKind::Role { ix, last: Some(_) } if *ix == role);
            self.items.iter().any(|item| !item.done && is_it(item))
        };
        match &item.kind {
            OrderItemKind::Binding { last: Some(form), .. } => exists(form.role) || !comes(form.role),
            OrderItemKind::Replace { last, .. } => exists(last.role) || !comes(last.role),
            OrderItemKind::Role { ix, last: None } => {
                let role = *ix;
                let bound: BTreeSet<usize> = self.world.bindings_of(role).collect();
                let leaves = |item: &OrderItem<'_>| match &item.kind {
                    OrderItemKind::Binding { ix, last } => {
                        bound.contains(ix) && last.as_ref().is_none_or(|last| last.role != role)
                    }
                    OrderItemKind::Replace { ix, .. } => bound.contains(ix),
                    OrderItemKind::Role { .. } | OrderItemKind::Mapping => false,
                };
                bound.is_empty() || !self.items.iter().any(|item| !item.done && leaves(item))
            }
            OrderItemKind::Role { last: Some(_), .. }
            | OrderItemKind::Binding { last: None, .. }
            | OrderItemKind::Mapping => true,
        }
    }

    pub(super) fn perform(&mut self, item: &OrderItem<'s>, act: Act) -> OrderEffect {
        match (&item.kind, act) {
            (OrderItemKind::Role { ix, last }, _) => self.world.set_role(*ix, last.clone()),
            (OrderItemKind::Binding { ix, last }, _) => self.world.set_binding(*ix, last.clone()),
            (OrderItemKind::Replace { last, bridge: Some(bridge), .. }, Act::Bridge) => {
                self.world.set_binding(*bridge, Some(last.clone()))
            }
            (OrderItemKind::Replace { bridge: Some(bridge), .. }, Act::BridgeAway) => {
                self.world.set_binding(*bridge, None)
            }
            (OrderItemKind::Replace { ix, .. }, Act::Away) => self.world.set_binding(*ix, None),
            (OrderItemKind::Replace { ix, last, .. }, _) => self.world.set_binding(*ix, Some(last.clone())),
            (OrderItemKind::Mapping, _) => OrderEffect::default(),
        }
    }

    pub(super) fn finish(&mut self, number: usize, act: Act) {
        let Some(item) = self.items.get_mut(number) else {
            return;
        };
        match (&mut item.kind, act) {
            (OrderItemKind::Replace { at, .. }, Act::Bridge) => *at = Progress::Bridged,
            (OrderItemKind::Replace { at, .. }, Act::Away) => *at = Progress::Gone,
            (OrderItemKind::Replace { at, bridge: Some(_), .. }, Act::Back) => *at = Progress::Back,
            _ => item.done = true,
        }
    }

    pub(super) fn touched(&self, effect: &OrderEffect) -> BTreeSet<usize> {
        let subjects = effect.subjects();
        subjects.iter().filter_map(|subject| self.of_subject.get(subject)).flatten().copied().collect()
    }

    /// Those of the classes who were not forced out of their frame.
    fn framed(&self, touched: &BTreeSet<usize>) -> impl Iterator<Item = (&Class, &Frame<'s>)> {
        let classes = touched.iter().filter(|class| !self.excused.contains(class));
        classes.filter_map(|class| {
            let class = self.classes.get(*class)?;
            Some((class, self.frames.get(class.frame)?))
        })
    }

    /// Whether all are in their frames, whatever has changed.
    pub(super) fn all_in_frame(&self, touched: &BTreeSet<usize>) -> bool {
        let mut seen = BTreeSet::new();
        self.framed(touched)
            .all(|(class, frame)| !seen.insert(class.standing()) || frame.holds(&class.now, &self.world))
    }

    /// Whether all are still in their frames after a change.
    pub(super) fn stay(&self, touched: &BTreeSet<usize>, effect: &OrderEffect) -> bool {
        self.framed(touched).all(|(class, frame)| frame.still_holds(&class.now, effect, &self.world))
    }

    /// All who stand like one of these.
    pub(super) fn crowd(&self, touched: &BTreeSet<usize>) -> BTreeSet<usize> {
        let alike: BTreeSet<_> =
            touched.iter().filter_map(|class| self.classes.get(*class)).map(Class::standing).collect();
        let all = self.classes.iter().enumerate().filter(|(_, class)| alike.contains(&class.standing()));
        all.map(|(number, _)| number).collect()
    }

    /// Notes a write that was made, with what must be seen to work before it.
    pub(super) fn record(&mut self, what: What<'s>, effect: &OrderEffect, touched: &BTreeSet<usize>) {
        let maps = matches!(what, What::PartMapping(_)) || self.is_mapping(&what);
        let (most, effect_of) = if maps { (ASKED_OF_MAPPING, None) } else { (ASKED, Some(effect)) };
        let mut awaits = Vec::new();
        // The first write relies on none before it.
        if !self.log.is_empty() && matches!(effect.direction, Direction::Shrinks | Direction::Mixed) {
            for class in touched.iter().filter_map(|class| self.classes.get(*class)) {
                let Some(frame) = self.frames.get(class.frame) else {
                    continue;
                };
                for login in &class.now {
                    if awaits.len() >= most || login.is_master || login.username.is_none() && login.groups.is_empty() {
                        continue;
                    }
                    let relied = frame.relies(login, effect_of, &self.world, most - awaits.len());
                    if relied.is_empty() {
                        continue;
                    }
                    let now = self.world.unowed(login);
                    let now: Vec<_> = now.into_iter().map(|atom| self.world.extents(atom)).collect();
                    for extent in relied {
                        let request = extent.sample();
                        if !now.iter().flat_map(|all| all.iter()).any(|extent| extent.contains(&request)) {
                            continue;
                        }
                        let question = request.into();
                        let (username, groups) = (login.username.clone(), login.groups.clone());
                        let asked = AccessProbe { username, groups, request: question };
                        if self.asked.insert((self.stage, asked.clone())) {
                            awaits.push(asked);
                        }
                    }
                }
            }
        }
        if !self.excused.is_empty() {
            for number in self.crowd(touched).intersection(&self.excused).copied().collect::<Vec<_>>() {
                self.note_windows(number);
            }
        }
        self.log.push(Made { stage: self.stage, what, awaits });
        for class in touched.iter().filter_map(|class| self.classes.get(*class)) {
            if let Some(changed) = self.changed.get_mut(class.frame) {
                *changed = self.log.len();
            }
        }
    }

    fn is_mapping(&self, what: &What<'_>) -> bool {
        let What::Act(number, _) = what else {
            return false;
        };
        self.items.get(*number).is_some_and(|item| matches!(item.kind, OrderItemKind::Mapping))
    }

    pub(super) fn mappings(&self) -> usize {
        let is_part = |made: &&Made<'_>| matches!(made.what, What::PartMapping(_));
        MAPPINGS.saturating_sub(self.log.iter().filter(is_part).count())
    }
}

/// Where the writes of several stages were put that both give and take.
struct Stages {
    first: usize,
    last: Option<usize>,
    /// By class, the last stage that concerns it.
    of: BTreeMap<usize, usize>,
}

impl Stages {
    fn place(&mut self, touched: &BTreeSet<usize>, in_turn: bool) -> usize {
        let after = touched.iter().filter_map(|class| self.of.get(class)).max().copied();
        let stage = if in_turn { self.last } else { after }.map_or(self.first, |stage| stage + 1);
        self.of.extend(touched.iter().map(|class| (*class, stage)));
        self.last = self.last.max(Some(stage));
        stage
    }
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tried {
    Made,
    Blocked,
    /// Not here, perhaps elsewhere.
    Other,
}
