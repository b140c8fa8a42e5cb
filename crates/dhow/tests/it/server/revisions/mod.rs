//! Revisions: going back, splitting calls, comparing, and changing under load.

mod api;
mod diff;
mod killed;
mod load;
mod model;
mod split;
mod versions;
