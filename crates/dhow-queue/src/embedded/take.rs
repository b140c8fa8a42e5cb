//! Taking a call: its body first, then one change for the writer.

use std::sync::atomic::Ordering::Relaxed;

use dhow_core::name::FunctionName;
use dhow_core::queue::{Accepted, CallBody, EnqueueError, NewCall};
use sha2::{Digest as _, Sha256};
use tokio::sync::oneshot;

use super::ledger::{Entry, KeyUse};
use super::records::Head;
use super::state::{State, millis};
use super::writer::{Ask, Take};
use super::{EmbeddedQueue, PERMIT, SPACE_USED, body, cost_of, ended};

impl EmbeddedQueue {
    pub(super) async fn take(
        &self,
        call: NewCall,
        body: CallBody,
    ) -> Result<Accepted, EnqueueError> {
        let shared = &self.0.shared;
        // Asked again when it is written; here so that a body is not taken in vain.
        if shared.ledger.lock().bytes() >= shared.config.space {
            return Err(EnqueueError::Full(SPACE_USED));
        }
        let row =
            body.size_hint().upper().map_or(body::ROW as u64, |most| most.min(body::ROW as u64));
        let permits = u32::try_from(row / PERMIT + 1).unwrap_or(u32::MAX);
        let memory = shared.memory.clone().try_acquire_many_owned(permits);
        let memory = memory.map_err(|_| EnqueueError::Busy)?;

        let sum = call.idempotency_key.as_ref().map(|_| request_sum(&call));
        let spooled = body::spool(&shared.begun, call.id, body, call.most_body, sum).await?;
        let now_ms = shared.clock.now_ms();
        let in_file = matches!(spooled.body, body::Kept::File(_));
        let head = Head::new(&call, now_ms, spooled.length, in_file);
        let state = State::new(now_ms);
        let encode = |bytes: Result<Vec<u8>, String>| bytes.map_err(EnqueueError::Storage);
        let (head_bytes, state_bytes) = (encode(head.encode())?, encode(state.encode())?);
        let cost = cost_of(&head_bytes, spooled.length);
        let wants = head.wants();
        let key = call.idempotency_key.as_deref().zip(spooled.sum).map(|(key, request)| {
            let expires_ms = now_ms.saturating_add(millis(shared.config.keys));
            (key_hash(&call.function, key), KeyUse { call: call.id, expires_ms, request })
        });
        let (reply, accepted) = oneshot::channel();
        self.ask(Ask::Take(Box::new(Take {
            entry: Entry::new(call.id, call.function, call.queue, wants, &state, cost, in_file),
            head: head_bytes,
            state: state_bytes,
            body: spooled.body,
            key,
            reply,
            _memory: memory,
        })));
        let accepted = accepted.await.unwrap_or_else(|_| Err(EnqueueError::Storage(ended())))?;
        if accepted.is_repeat {
            shared.repeats.fetch_add(1, Relaxed);
        }
        Ok(accepted)
    }
}

/// A key is a function's own.
pub(super) fn key_hash(function: &FunctionName, key: &str) -> [u8; 32] {
    Sha256::digest(format!("{}\0{}\0{key}", function.namespace, function.name)).into()
}

/// The sum of a request, to which its body is still to be added.
pub(super) fn request_sum(call: &NewCall) -> Sha256 {
    let mut sum = Sha256::new();
    sum.update(format!("{} {}\0", call.head.method, call.head.uri));
    sum
}
