//! Who can do what in a state, exactly as the authenticator and the API server decide it, and what lies between two
//! states.
//!
//! Pure: this room knows states and names. It may not know policies, plans, terminals or connections; whoever shows its
//! answers finds the place in a policy by the keys of objects and entries in them.

mod aggregation;
mod caller;
mod extent;
mod grants;
mod identity;
mod mapping;
mod matches;
mod query;
mod request;
mod template;
