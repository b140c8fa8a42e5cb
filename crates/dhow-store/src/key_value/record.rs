//! What is written of one entry: a letter for its kind, when it ends, and its bytes. Those of a
//! list or a set are its items, each after its length, so that they are as many as it counts.

use std::collections::BTreeSet;

use bytes::Bytes;
use dhow_core::key_value::Value;

/// Bytes before the value's own.
const HEAD: usize = 9;
const BYTES: u8 = b'b';
const LIST: u8 = b'l';
const SET: u8 = b's';

/// The bytes of an entry that ends at `expires_ms`, milliseconds since 1970; 0 is never.
pub(super) fn encode(value: &Value, expires_ms: u64) -> Vec<u8> {
    let kind = match value {
        Value::Bytes(_) => BYTES,
        Value::List(_) => LIST,
        Value::Set(_) => SET,
    };
    let mut record = Vec::with_capacity(HEAD + value.size());
    record.push(kind);
    record.extend_from_slice(&expires_ms.to_le_bytes());
    match value {
        Value::Bytes(bytes) => record.extend_from_slice(bytes),
        Value::List(items) => items.iter().for_each(|item| push(&mut record, item)),
        Value::Set(items) => items.iter().for_each(|item| push(&mut record, item)),
    }
    record
}

fn push(record: &mut Vec<u8>, item: &Bytes) {
    // A value is far smaller than what a length can say.
    record.extend_from_slice(&u32::try_from(item.len()).unwrap_or(u32::MAX).to_le_bytes());
    record.extend_from_slice(item);
}

/// The value that was written; `None` when nobody wrote this.
pub(super) fn decode(record: &[u8]) -> Option<Value> {
    let value = record.get(HEAD..)?;
    match record[0] {
        BYTES => Some(Value::Bytes(Bytes::copy_from_slice(value))),
        LIST => items(value).map(Value::List),
        SET => Some(Value::Set(items(value)?.into_iter().collect::<BTreeSet<_>>())),
        _ => None,
    }
}

fn items(mut bytes: &[u8]) -> Option<Vec<Bytes>> {
    let mut items = Vec::new();
    while let Some((length, rest)) = bytes.split_first_chunk() {
        let (item, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        items.push(Bytes::copy_from_slice(item));
        bytes = rest;
    }
    bytes.is_empty().then_some(items)
}

/// When it ends, milliseconds since 1970; 0 is never.
pub(super) fn expires_ms(record: &[u8]) -> u64 {
    record.get(1..HEAD).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// Whether it has not ended yet.
pub(super) fn lives(record: &[u8], now_ms: u64) -> bool {
    !matches!(expires_ms(record), 1.. if expires_ms(record) <= now_ms)
}

/// Bytes of its value.
pub(super) fn size(record: &[u8]) -> usize {
    record.len().saturating_sub(HEAD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_read_as_it_was_written_and_counts_its_bytes() {
        let items = || ["", "a", "bc"].map(|text| Bytes::from_static(text.as_bytes()));
        for value in [
            Value::Bytes(Bytes::new()),
            Value::Bytes(Bytes::from_static(b"\0x")),
            Value::List(items().into()),
            Value::Set(items().into()),
        ] {
            let record = encode(&value, 7);
            assert_eq!(size(&record), value.size());
            assert_eq!(expires_ms(&record), 7);
            assert_eq!(decode(&record), Some(value));
        }
    }

    #[test]
    fn it_ends_when_it_was_to_and_not_before() {
        let ends = |at| encode(&Value::Bytes(Bytes::new()), at);
        assert!(lives(&ends(0), u64::MAX));
        assert!(lives(&ends(8), 7));
        assert!(!lives(&ends(8), 8));
    }

    #[test]
    fn what_nobody_wrote_is_no_value() {
        let list = encode(&Value::List(vec![Bytes::from_static(b"abc")]), 0);
        for wrong in [&b""[..], b"b", b"x12345678", &list[..list.len() - 1], &list[..HEAD + 3]] {
            assert_eq!(decode(wrong), None, "{wrong:?}");
        }
    }
}
