//! The two clusters side by side: what one refuses the other refuses, for the same reason.

mod differential;
mod protobuf;
mod write_cases;
