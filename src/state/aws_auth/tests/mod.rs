//! Tests of the room.
mod corpus;
mod differential;
mod edits;
mod foreign;
