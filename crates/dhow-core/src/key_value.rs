//! What functions keep from one call to the next: values under keys, in stores.
//!
//! What each change does to a value is decided here, purely, so that every implementation of
//! [`crate::ports::KeyValue`] does the same.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::Bounds;
use crate::name::{FunctionName, Label};

/// Bytes of a key.
pub const MOST_KEY: usize = 1024;
/// Bytes of a value; of a list or a set, of all its items with [`ITEM_COST`] each.
pub const MOST_VALUE: usize = 1 << 20;
/// What an item of a list or a set counts beside its bytes.
pub const ITEM_COST: usize = 4;
/// What an entry of a store counts beside the bytes of its key and its value.
pub const ENTRY_COST: usize = 64;
/// Changes that are made together, and keys that are asked for together.
pub const MOST_AT_ONCE: usize = 1000;
/// Bytes of all keys and values of one batch, asked for or changed.
pub const MOST_BATCH: usize = 8 << 20;
/// Keys of one page of a listing.
pub const PAGE: usize = 1000;
/// Stores that one function may be granted.
pub const MOST_STORES: usize = 32;
/// `keyValue.stores[].size`, bytes.
pub const STORE_SIZE: Bounds<u64> = Bounds { default: 64 << 20, least: 64 << 10, most: 1 << 40 };
/// `keyValue.stores[].keys`.
pub const STORE_KEYS: Bounds<u32> = Bounds { default: 100_000, least: 1, most: 100_000_000 };

/// The name of a store: 1 to 63 of `A-Z`, `a-z`, `0-9`, `.`, `-` and `_`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName(Arc<str>);

/// Why a text is not a [`StoreName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a store's name has 1 to 63 of A-Z, a-z, 0-9, `.`, `-` and `_`")]
pub struct BadStoreName;

/// A store that a function may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreGrant {
    /// What the guest calls it.
    pub name: StoreName,
    /// The namespace's store behind it; `None` is one of the function's own.
    pub shared: Option<StoreName>,
    /// What it may hold when this function adds to it.
    pub room: Room,
}

/// What a store may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes of all entries, each with [`ENTRY_COST`].
    pub size: u64,
    /// Entries.
    pub keys: u32,
}

/// One store of one installation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StoreId {
    /// Where it is.
    pub namespace: Label,
    /// Whose it is.
    pub owner: Owner,
}

/// Whose a store is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Owner {
    /// One function's. It outlives the function, for one of the same name.
    Function {
        /// Which.
        function: Label,
        /// What the function calls it.
        store: StoreName,
    },
    /// All functions' of the namespace that name it.
    Shared(StoreName),
}

/// What is kept under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Bytes.
    Bytes(Bytes),
    /// Items in order; what was pushed last comes first.
    List(Vec<Bytes>),
    /// Items, each once. Never empty, as a list never is: that is no entry.
    Set(BTreeSet<Bytes>),
}

/// A change under one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where.
    pub key: String,
    /// What.
    pub to: To,
}

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum To {
    /// These bytes, whatever was there; after `lives` there is nothing.
    Set {
        /// The bytes.
        value: Bytes,
        /// How long they are there; `None` is until they are changed.
        lives: Option<Duration>,
    },
    /// Nothing.
    Delete,
    /// The number there, decimal digits in bytes, and this one. Nothing counts as 0.
    Add(i64),
    /// `value`, where the bytes there are `expected`; `None` is nothing.
    Swap {
        /// What must be there.
        expected: Option<Bytes>,
        /// What then is.
        value: Bytes,
    },
    /// The list with this item before all others.
    Push(Bytes),
    /// The list without all items that equal this one.
    Remove(Bytes),
    /// The set with this item.
    Insert(Bytes),
    /// The set without this item.
    Discard(Bytes),
}

/// What a change gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Changed {
    /// It is done.
    Done,
    /// By [`To::Add`]: the number that is there now. By [`To::Push`]: how many items the list has.
    /// By the other changes of lists and sets: how many items came or went.
    Number(i64),
}

/// Why nothing was read or changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyValueError {
    /// A key is empty or too long.
    #[error("a key has 1 to {MOST_KEY} bytes, this one has {0}")]
    Key(usize),
    /// A value is too large.
    #[error("the value has {0} bytes; at most {MOST_VALUE}")]
    Value(usize),
    /// Too much at once.
    #[error("at most {MOST_AT_ONCE} keys and {MOST_BATCH} bytes at once")]
    Batch,
    /// The store has no room for another key.
    #[error("the store is full: it may hold {0} keys")]
    TooManyKeys(u32),
    /// The store has no room for so many bytes.
    #[error("the store is full: it may hold {0} bytes")]
    TooLarge(u64),
    /// What is there is not what the change is for.
    #[error("under `{key}` is a {found}, not a {wanted}")]
    Kind {
        /// Where.
        key: String,
        /// What is there.
        found: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
    /// What is there is no whole number.
    #[error("under `{0}` is no whole number")]
    NotANumber(String),
    /// The sum is no 64-bit number.
    #[error("the sum under `{0}` is too large")]
    Overflow(String),
    /// Something else is there than was expected.
    #[error("the value has changed meanwhile")]
    Swapped,
    /// The disk is full.
    #[error("the disk is full, nothing was changed")]
    DiskFull,
    /// The store failed.
    #[error("the store failed: {0}")]
    Storage(String),
}

impl KeyValueError {
    /// A stable short name.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Key(_) => "bad-key",
            Self::Value(_) => "value-too-large",
            Self::Batch => "batch-too-large",
            Self::TooManyKeys(_) => "too-many-keys",
            Self::TooLarge(_) => "store-full",
            Self::Kind { .. } => "wrong-kind",
            Self::NotANumber(_) => "not-a-number",
            Self::Overflow(_) => "overflow",
            Self::Swapped => "changed-meanwhile",
            Self::DiskFull => "storage-full",
            Self::Storage(_) => "storage",
        }
    }
}

impl StoreName {
    /// The store of whoever names none.
    pub fn default_store() -> Self {
        Self(Arc::from("default"))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StoreName {
    type Err = BadStoreName;

    fn from_str(text: &str) -> Result<Self, BadStoreName> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        match (1..=63).contains(&text.len()) && text.bytes().all(fits) {
            true => Ok(Self(Arc::from(text))),
            false => Err(BadStoreName),
        }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl Default for Room {
    fn default() -> Self {
        Self { size: STORE_SIZE.default, keys: STORE_KEYS.default }
    }
}

impl StoreGrant {
    /// The store that is granted to `function`.
    pub fn store(&self, function: &FunctionName) -> StoreId {
        let owner = match &self.shared {
            Some(shared) => Owner::Shared(shared.clone()),
            None => Owner::Function { function: function.name.clone(), store: self.name.clone() },
        };
        StoreId { namespace: function.namespace.clone(), owner }
    }
}

impl Value {
    /// Its bytes, as they count for [`MOST_VALUE`].
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::List(items) => items.iter().map(|item| item.len() + ITEM_COST).sum(),
            Self::Set(items) => items.iter().map(|item| item.len() + ITEM_COST).sum(),
        }
    }

    /// What it is, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Bytes(_) => "value",
            Self::List(_) => "list",
            Self::Set(_) => "set",
        }
    }
}

impl Change {
    /// What becomes of `current` under this key, and what that gives.
    ///
    /// # Errors
    /// When `current` is not what the change is for, or the new value would be too large.
    pub fn apply(&self, current: Option<Value>) -> Result<(Option<Value>, Changed), KeyValueError> {
        let (value, changed) = self.new_value(current)?;
        match value.as_ref().map(Value::size) {
            Some(size) if size > MOST_VALUE => Err(KeyValueError::Value(size)),
            _ => Ok((value, changed)),
        }
    }

    fn new_value(&self, current: Option<Value>) -> Result<(Option<Value>, Changed), KeyValueError> {
        let count = |yes: bool| Changed::Number(i64::from(yes));
        Ok(match &self.to {
            To::Set { value, .. } => (Some(Value::Bytes(value.clone())), Changed::Done),
            To::Delete => (None, Changed::Done),
            To::Add(delta) => {
                let current = self.bytes(current)?.map_or(Ok(0), |bytes| self.number(&bytes))?;
                let sum = current.checked_add(*delta);
                let sum = sum.ok_or_else(|| KeyValueError::Overflow(self.key.clone()))?;
                (Some(Value::Bytes(Bytes::from(sum.to_string()))), Changed::Number(sum))
            }
            To::Swap { expected, value } => match self.bytes(current)? == *expected {
                true => (Some(Value::Bytes(value.clone())), Changed::Done),
                false => return Err(KeyValueError::Swapped),
            },
            To::Push(item) => {
                let mut list = self.list(current)?;
                list.insert(0, item.clone());
                let items = i64::try_from(list.len()).unwrap_or(i64::MAX);
                (Some(Value::List(list)), Changed::Number(items))
            }
            To::Remove(item) => {
                let mut list = self.list(current)?;
                let before = list.len();
                list.retain(|other| other != item);
                let removed = i64::try_from(before - list.len()).unwrap_or(i64::MAX);
                let value = (!list.is_empty()).then_some(Value::List(list));
                (value, Changed::Number(removed))
            }
            To::Insert(item) => {
                let mut set = self.set(current)?;
                let is_new = set.insert(item.clone());
                (Some(Value::Set(set)), count(is_new))
            }
            To::Discard(item) => {
                let mut set = self.set(current)?;
                let was_there = set.remove(item);
                ((!set.is_empty()).then_some(Value::Set(set)), count(was_there))
            }
        })
    }

    fn bytes(&self, current: Option<Value>) -> Result<Option<Bytes>, KeyValueError> {
        match current {
            None => Ok(None),
            Some(Value::Bytes(bytes)) => Ok(Some(bytes)),
            Some(other) => Err(self.wrong_kind(&other, "value")),
        }
    }

    fn list(&self, current: Option<Value>) -> Result<Vec<Bytes>, KeyValueError> {
        match current {
            None => Ok(vec![]),
            Some(Value::List(items)) => Ok(items),
            Some(other) => Err(self.wrong_kind(&other, "list")),
        }
    }

    fn set(&self, current: Option<Value>) -> Result<BTreeSet<Bytes>, KeyValueError> {
        match current {
            None => Ok(BTreeSet::new()),
            Some(Value::Set(items)) => Ok(items),
            Some(other) => Err(self.wrong_kind(&other, "set")),
        }
    }

    fn number(&self, bytes: &[u8]) -> Result<i64, KeyValueError> {
        let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse().ok());
        number.ok_or_else(|| KeyValueError::NotANumber(self.key.clone()))
    }

    fn wrong_kind(&self, found: &Value, wanted: &'static str) -> KeyValueError {
        KeyValueError::Kind { key: self.key.clone(), found: found.kind(), wanted }
    }

    /// Bytes that are on their way with it.
    pub fn bytes_under_way(&self) -> usize {
        let value = match &self.to {
            To::Set { value, .. } => value.len(),
            To::Delete | To::Add(_) => 0,
            To::Swap { expected, value } => value.len() + expected.as_ref().map_or(0, Bytes::len),
            To::Push(item) | To::Remove(item) | To::Insert(item) | To::Discard(item) => item.len(),
        };
        self.key.len() + value
    }
}

/// Whether `key` is one.
///
/// # Errors
/// When it is empty or too long.
pub fn check_key(key: &str) -> Result<(), KeyValueError> {
    match key.len() {
        1..=MOST_KEY => Ok(()),
        bytes => Err(KeyValueError::Key(bytes)),
    }
}

/// Whether `keys` may be asked for at once.
///
/// # Errors
/// When they are too many, or one is none.
pub fn check_keys(keys: &[String]) -> Result<(), KeyValueError> {
    if keys.len() > MOST_AT_ONCE {
        return Err(KeyValueError::Batch);
    }
    keys.iter().try_for_each(|key| check_key(key))
}

/// Whether `changes` may be made together, as far as that can be told without what is there.
///
/// # Errors
/// When they are too many or too large, or a key is none.
pub fn check_changes(changes: &[Change]) -> Result<(), KeyValueError> {
    let bytes: usize = changes.iter().map(Change::bytes_under_way).sum();
    if changes.len() > MOST_AT_ONCE || bytes > MOST_BATCH {
        return Err(KeyValueError::Batch);
    }
    changes.iter().try_for_each(|change| check_key(&change.key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(to: To, current: Option<Value>) -> Result<(Option<Value>, Changed), KeyValueError> {
        Change { key: "k".to_owned(), to }.apply(current)
    }

    fn bytes(text: &'static str) -> Value {
        Value::Bytes(Bytes::from_static(text.as_bytes()))
    }

    fn list(items: &[&'static str]) -> Value {
        Value::List(items.iter().map(|item| Bytes::from_static(item.as_bytes())).collect())
    }

    #[test]
    fn numbers_are_added_and_nothing_is_zero() {
        assert_eq!(apply(To::Add(-3), None), Ok((Some(bytes("-3")), Changed::Number(-3))));
        let sum = apply(To::Add(5), Some(bytes("37")));
        assert_eq!(sum, Ok((Some(bytes("42")), Changed::Number(42))));
        let most = bytes("9223372036854775807");
        assert!(matches!(apply(To::Add(1), Some(most)), Err(KeyValueError::Overflow(_))));
        for wrong in ["", "1.5", "x", "1 "] {
            let sum = apply(To::Add(1), Some(bytes(wrong)));
            assert!(matches!(sum, Err(KeyValueError::NotANumber(_))), "{wrong:?}");
        }
    }

    #[test]
    fn a_swap_needs_what_was_expected() {
        let swap = |expected: Option<&'static str>| To::Swap {
            expected: expected.map(|text| Bytes::from_static(text.as_bytes())),
            value: Bytes::from_static(b"new"),
        };
        let done = Ok((Some(bytes("new")), Changed::Done));
        assert_eq!(apply(swap(None), None), done);
        assert_eq!(apply(swap(Some("old")), Some(bytes("old"))), done);
        for (expected, current) in
            [(None, Some(bytes("old"))), (Some("old"), None), (Some("old"), Some(bytes("other")))]
        {
            assert_eq!(apply(swap(expected), current), Err(KeyValueError::Swapped));
        }
    }

    #[test]
    fn lists_grow_at_their_front_and_empty_ones_are_gone() {
        let item = Bytes::from_static(b"b");
        let pushed = apply(To::Push(item.clone()), Some(list(&["a", "b"])));
        assert_eq!(pushed, Ok((Some(list(&["b", "a", "b"])), Changed::Number(3))));
        let removed = apply(To::Remove(item.clone()), Some(list(&["b", "a", "b"])));
        assert_eq!(removed, Ok((Some(list(&["a"])), Changed::Number(2))));
        assert_eq!(apply(To::Remove(item), Some(list(&["b"]))), Ok((None, Changed::Number(1))));
    }

    #[test]
    fn sets_hold_an_item_once() {
        let item = Bytes::from_static(b"a");
        let (set, new) = apply(To::Insert(item.clone()), None).unwrap();
        assert_eq!(new, Changed::Number(1));
        assert_eq!(apply(To::Insert(item.clone()), set.clone()).unwrap().1, Changed::Number(0));
        assert_eq!(apply(To::Discard(item.clone()), set), Ok((None, Changed::Number(1))));
        assert_eq!(apply(To::Discard(item), None), Ok((None, Changed::Number(0))));
    }

    #[test]
    fn a_change_for_another_kind_is_refused() {
        let item = || Bytes::from_static(b"a");
        let changes = [To::Add(1), To::Swap { expected: None, value: item() }, To::Insert(item())];
        for to in changes {
            assert!(matches!(apply(to, Some(list(&["a"]))), Err(KeyValueError::Kind { .. })));
        }
        assert!(matches!(
            apply(To::Push(item()), Some(bytes("a"))),
            Err(KeyValueError::Kind { found: "value", wanted: "list", .. })
        ));
        // What is set or deleted may be anything before.
        let set = To::Set { value: item(), lives: None };
        assert_eq!(apply(set, Some(list(&["x"]))).unwrap().0, Some(bytes("a")));
        assert_eq!(apply(To::Delete, Some(list(&["x"]))).unwrap().0, None);
    }

    #[test]
    fn no_value_is_larger_than_it_may_be() {
        let set = |bytes: usize| To::Set { value: vec![0; bytes].into(), lives: None };
        assert!(apply(set(MOST_VALUE), None).is_ok());
        assert_eq!(apply(set(MOST_VALUE + 1), None), Err(KeyValueError::Value(MOST_VALUE + 1)));
        let item = Bytes::from(vec![0; MOST_VALUE / 2]);
        let (half, _) = apply(To::Push(item.clone()), None).unwrap();
        assert!(matches!(apply(To::Push(item), half), Err(KeyValueError::Value(_))));
    }

    #[test]
    fn a_store_has_a_name_that_every_dialect_can_say() {
        for right in ["default", "A.b-c_1", &"a".repeat(63)] {
            assert_eq!(right.parse::<StoreName>().unwrap().as_str(), right);
        }
        for wrong in ["", "a b", "a/b", "é", &"a".repeat(64)] {
            assert_eq!(wrong.parse::<StoreName>(), Err(BadStoreName), "{wrong}");
        }
    }

    #[test]
    fn what_is_asked_at_once_is_bounded() {
        let delete = |key: &str| Change { key: key.to_owned(), to: To::Delete };
        assert_eq!(check_changes(&vec![delete("k"); MOST_AT_ONCE]), Ok(()));
        let many = vec![delete("k"); MOST_AT_ONCE + 1];
        assert_eq!(check_changes(&many), Err(KeyValueError::Batch));
        assert_eq!(check_changes(&[delete("")]), Err(KeyValueError::Key(0)));
        assert_eq!(check_keys(&vec!["k".to_owned(); MOST_AT_ONCE + 1]), Err(KeyValueError::Batch));
        assert_eq!(check_key(&"k".repeat(MOST_KEY + 1)), Err(KeyValueError::Key(MOST_KEY + 1)));
    }
}
