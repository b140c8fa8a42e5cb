//! Taking a call: its body first, then one change for the writer.

use std::sync::atomic::Ordering::Relaxed;

use dhow_core::access::CLIENT;
use dhow_core::queue::{Accepted, CallBody, EnqueueError, KEEP, NewCall};
use http::Uri;
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::ledger::{Entry, KEY_COST, KeyUse};
use super::records::Head;
use super::space::{CALL_COST, Reserved, cost_of};
use super::state::{State, millis};
use super::writer::{Ask, Take};
use super::{EmbeddedQueue, PERMIT, SPACE_USED, body, ended};

impl EmbeddedQueue {
    pub(super) async fn take(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> Result<Accepted, EnqueueError> {
        let shared = &self.0.shared;
        let row =
            body.size_hint().upper().map_or(body::ROW as u64, |most| most.min(body::ROW as u64));
        let permits = u32::try_from(row / PERMIT + 1).unwrap_or(u32::MAX);
        let memory = shared.memory.clone().try_acquire_many_owned(permits);
        let memory = memory.map_err(|_| EnqueueError::Busy)?;

        // All that it will count for is held before it is on the disk.
        let mut reserved = Reserved::none(shared);
        let sum = call.idempotency_key.as_ref().map(|_| request_sum(&call));
        let has_space = |bytes| reserved.grow_to(CALL_COST + bytes);
        let (steps, begun) = (&shared.steps, &shared.begun);
        let spooled = body::spool(steps, begun, call.id, body, call.most_body, sum, has_space);
        let spooled = spooled.await?;
        let now_ms = shared.clock.now_ms();
        let in_file = matches!(spooled.body, body::Kept::File(_));
        let head = Head::new(&call, now_ms, spooled.length, in_file);
        let state = State::new(now_ms);
        let encode = |bytes: Result<Vec<u8>, String>| bytes.map_err(EnqueueError::Storage);
        let (head_bytes, state_bytes) = (encode(head.encode())?, encode(state.encode())?);
        let wants = head.wants();
        let cost = cost_of(&head_bytes, spooled.length, wants.answer());
        let key = call.idempotency_key.as_deref().zip(spooled.sum).map(|(key, request)| {
            let expires_ms = now_ms.saturating_add(millis(shared.config.keys));
            (key_hash(&call, key), KeyUse { call: call.id, expires_ms, request })
        });
        if !reserved.grow_to(cost + key.map_or(0, |_| KEY_COST)) {
            return Err(EnqueueError::Full(SPACE_USED));
        }
        let (reply, accepted) = oneshot::channel();
        self.ask(Ask::Take(Box::new(Take {
            entry: Entry::new(call.id, call.function, call.queue, wants, &state, cost, in_file),
            head: head_bytes,
            state: state_bytes,
            body: spooled.body,
            key,
            reply,
            _memory: memory,
            _reserved: reserved,
        })));
        let accepted = accepted.await.unwrap_or_else(|_| Err(EnqueueError::Storage(ended())))?;
        if accepted.is_repeat {
            shared.repeats.fetch_add(1, Relaxed);
        }
        Ok(accepted)
    }
}

/// A key is a function's own, and where the function asks who calls, that caller's.
pub(super) fn key_hash(call: &NewCall, key: &str) -> [u8; 32] {
    let client = call.head.headers.get(CLIENT).map_or(&[][..], |client| client.as_bytes());
    let mut hash = Sha256::new();
    hash.update(format!("{}\0{}\0", call.function.namespace, call.function.name));
    // Its length tells where it ends.
    hash.update(client.len().to_be_bytes());
    hash.update(client);
    hash.update(key);
    hash.finalize().into()
}

/// The sum of a request and of what is to become of its answer. Its body is still to be added.
pub(super) fn request_sum(call: &NewCall) -> Sha256 {
    let mut sum = Sha256::new();
    let callback = call.callback.as_ref().map(Uri::to_string).unwrap_or_default();
    sum.update(format!("{} {}\0{callback}\0", call.head.method, call.head.uri));
    // As it was said: what its function says for those that do not may change.
    let keep = call.head.headers.get(KEEP).map_or(&[][..], |keep| keep.as_bytes());
    sum.update(keep);
    sum.update([0]);
    sum
}
