//! Who can do what in a state, exactly as the authenticator and the API server decide it, and what lies between two
//! states.
//!
//! Pure: this room knows states and names. It may not know policies, plans, terminals or connections; whoever shows its
//! answers finds the place in a policy by the keys of objects and entries in them.

mod aggregation;
mod caller;
mod delta;
mod doubts;
mod escalation;
mod extent;
mod grants;
mod identity;
mod mapping;
mod matches;
mod query;
mod reach;
mod request;
mod template;
mod ways;

pub(crate) use aggregation::{Moment, circles};
pub(crate) use caller::Caller;
pub(crate) use delta::{Row, delta};
pub(crate) use doubts::doubts;
pub(crate) use escalation::{WayUp, all_ways_up, ways_up};
pub(crate) use identity::{Admission, Denial, Identity, MASTERS, Who, WhoFault};
pub(crate) use mapping::{EntryRef, Never};
pub(crate) use matches::{Lack, allows};
pub(crate) use query::{Access, Answer, By, Chain, Held, Holder, Miss, Principal, Verdict, WhoCan};
pub(crate) use reach::Part;
pub(crate) use request::{ObjectRequest, Request};

// What the tests ask of the parts by themselves.
#[cfg(test)]
pub(crate) use self::{
    caller::Session, delta::delta_of, extent::Extent, identity::Source, mapping::Standing, reach::contains,
    template::Name,
};

#[cfg(test)]
mod tests;
