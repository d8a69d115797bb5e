//! Tests of the room.

use super::*;
