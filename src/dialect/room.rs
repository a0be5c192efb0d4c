//! `room` and `echo`: messages go on as they came, and no JSON is looked at.

use super::{
    Bounds,
    action::{Notice, Request},
};
use serde_json::value::RawValue;

/// There is nothing to read: the hub sends the message on.
pub(super) fn decode<'a>(_: &'a str, _: &Bounds, _: &mut Vec<Request<'a>>) {}

/// The server has nothing to say for itself.
pub(super) fn encode(_: &Notice<'_>, _: Option<&RawValue>, _: &mut String) -> bool {
    false
}
