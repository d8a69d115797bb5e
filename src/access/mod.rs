//! Who can do what in a state, exactly as the authenticator and the API server decide it, and what lies between two
//! states.
//!
//! Pure: this room knows states and names. It may not know policies, plans, terminals or connections; whoever shows its
//! answers finds the place in a policy by the keys of objects and entries in them.

mod aggregation;
mod alone;
mod caller;
mod covers;
mod delta;
mod doubts;
mod escalation;
mod extent;
mod grants;
mod identity;
mod mapping;
mod matches;
mod principals;
mod query;
mod reach;
mod reason;
mod repair;
mod request;
mod template;
mod waiting;
mod ways;

pub(crate) use aggregation::Moment;
pub(crate) use alone::Alone;
pub(crate) use caller::Caller;
pub(crate) use covers::uncovered;
pub(crate) use delta::{Row, delta};
pub(crate) use doubts::{Doubt, doubts, spelling};
pub(crate) use escalation::{WayUp, all_ways_up, ways_up};
pub(crate) use extent::{Extent, Region, Requests, Words};
pub(crate) use identity::{AUTHENTICATED, Admission, Denial, Identity, MASTERS, Who, WhoFault};
pub(crate) use mapping::{EntryRef, Never};
pub(crate) use matches::{Lack, allows};
pub(crate) use principals::Principal;
pub(crate) use query::{Access, Answer, By, Chain, Held, Holder, Miss, Verdict, WhoCan};
pub(crate) use reach::Part;
pub(crate) use reason::AllowedBy;
pub(crate) use repair::lost_rights;
pub(crate) use request::{ObjectRequest, Request};
pub(crate) use template::{Name, is_of_session};
pub(crate) use waiting::{all_waiting, in_circles, left_waiting};

// What the tests ask of the parts by themselves.
#[cfg(test)]
pub(crate) use self::{
    aggregation::circles, caller::Session, delta::delta_of, identity::Source, mapping::Standing, reach::contains,
};

#[cfg(test)]
pub(crate) mod tests;
