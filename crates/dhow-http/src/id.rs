//! New call ids.

use dhow_core::call::CallId;

/// A call id that no other call has: 128 random bits from a generator of the thread's own, seeded
/// by the system. Not a secret.
pub fn new_call_id() -> CallId {
    CallId(fastrand::u128(1..))
}
