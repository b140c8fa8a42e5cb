//! An upgrade in place: a new dhow takes the listeners over from the one that runs, then its data
//! folder, and no request is lost.
//!
//! The one that runs listens at a socket in its data folder that its user alone can reach. They
//! speak lines of JSON, in turn, and the listeners go along as descriptors (`SCM_RIGHTS`):
//!
//! | new | old | meanwhile |
//! |---|---|---|
//! | `hello` | `listeners` | the old one serves |
//! | `release` | `released` | the old one's admin port has answered what was asked, and takes no more: who connects waits; its stores are closed, its lock is free; calls go on, cold ones too |
//! | `serving` | `yours` | the new one has opened the stores and answers calls, but for asynchronous ones, which wait; the old one has ended its connections politely, so that no call begins there any more, and closed the queue |
//! | `taken` | | the new one has opened the queue, and opens the admin port; the old one finishes its calls and ends |
//!
//! So there is at each moment one at least who answers calls, and one at most who answers admin
//! requests; what an admin request changed, no call finds unchanged afterwards. Whoever dies breaks
//! the line off: before `taken` the old one then opens its stores again and goes on; after
//! `released` the new one goes on without the old. The folder's lock keeps both from writing.

pub(super) mod giver;
pub(super) mod line;
pub(super) mod taker;

use serde::{Deserialize, Serialize};

/// The version of what is spoken.
const PROTOCOL: u32 = 1;
/// The socket's name in the data folder.
const SOCKET: &str = "handover.sock";

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "say", rename_all = "kebab-case")]
enum Message {
    /// The new one is here.
    Hello { protocol: u32, version: String },
    /// What the old one listens at; the descriptors come along, in this order.
    Listeners { version: String, names: Vec<String> },
    /// The new one wants the data folder.
    Release,
    /// It is free.
    Released,
    /// The new one answers calls.
    Serving,
    /// The old one begins no more.
    Yours,
    /// The new one knows that.
    Taken,
    /// The old one goes on alone, for a reason that a person understands.
    Refused { why: String },
}
