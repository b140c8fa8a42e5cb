//! A front on a real port, and clients that are slow, greedy, rude or merely polite.

mod bodies;
mod ends;
mod rig;
mod slow;
mod streams;
