//! `spec.keyValue`: the stores that a function may use. Bounds and defaults are
//! [`dhow_core::key_value`]'s.

use dhow_core::key_value::{MOST_STORES, Room, STORE_KEYS, STORE_SIZE, StoreGrant};
use dhow_core::quantity::print_bytes;
use serde_json::{Value, json};

use crate::fields::{Known, Object};
use crate::problem::FieldError;

const KEY_VALUE: Known = Known { fields: &["stores"], unsupported: &[] };
const STORE: Known = Known { fields: &["name", "shared", "size", "keys"], unsupported: &[] };

/// The stores that are granted: none unless they are named.
pub(super) fn decode(spec: &Object<'_>, problems: &mut Vec<FieldError>) -> Vec<StoreGrant> {
    let Some(said) = spec.object("keyValue", &KEY_VALUE, problems) else { return vec![] };
    let mut stores: Vec<StoreGrant> = Vec::new();
    for (path, value) in said.list("stores", problems) {
        let Some(said) = Object::open(path, value, &STORE, problems) else { continue };
        let Some(store) = store(&said, problems) else { continue };
        if stores.iter().any(|other| other.name == store.name) {
            let message = format!("`{}` stands here twice", store.name);
            problems.push(FieldError::new(said.at("name"), message));
        } else {
            stores.push(store);
        }
    }
    if stores.len() > MOST_STORES {
        let message = format!("names {} stores; at most {MOST_STORES}", stores.len());
        problems.push(FieldError::new(said.at("stores"), message));
    }
    stores
}

fn store(said: &Object<'_>, problems: &mut Vec<FieldError>) -> Option<StoreGrant> {
    let name =
        said.required("name", problems).and_then(|_| said.parsed("name", str::parse, problems));
    let shared = said.parsed("shared", str::parse, problems);
    let default = Room::default();
    let room = Room {
        size: said.size("size", STORE_SIZE, problems).unwrap_or(default.size),
        keys: said.count("keys", STORE_KEYS, problems).unwrap_or(default.keys),
    };
    Some(StoreGrant { name: name?, shared, room })
}

/// The document's part, where something is granted.
pub(super) fn encode(stores: &[StoreGrant]) -> Option<Value> {
    let store = |StoreGrant { name, shared, room }: &StoreGrant| {
        let mut written = json!({
            "name": name.as_str(),
            "size": print_bytes(room.size),
            "keys": room.keys,
        });
        if let Some(shared) = shared {
            written["shared"] = json!(shared.as_str());
        }
        written
    };
    (!stores.is_empty()).then(|| json!({"stores": stores.iter().map(store).collect::<Vec<_>>()}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(spec: &Value) -> (Vec<StoreGrant>, Vec<FieldError>) {
        let known = Known { fields: &["keyValue"], unsupported: &[] };
        let mut problems = Vec::new();
        let spec = Object::open("spec", spec, &known, &mut problems).unwrap();
        (decode(&spec, &mut problems), problems)
    }

    #[test]
    fn nothing_is_granted_that_is_not_named() {
        assert_eq!(read(&json!({})), (vec![], vec![]));
        assert_eq!(encode(&[]), None);
    }

    #[test]
    fn a_store_is_the_functions_own_or_shared() {
        let spec = json!({"keyValue": {"stores": [
            {"name": "default"},
            {"name": "cart", "shared": "carts", "size": "1Mi", "keys": 7},
        ]}});
        let (stores, problems) = read(&spec);
        assert_eq!(problems, []);
        assert_eq!(stores[0].shared, None);
        assert_eq!(stores[0].room, Room::default());
        assert_eq!(stores[1].shared, Some("carts".parse().unwrap()));
        assert_eq!(stores[1].room, Room { size: 1 << 20, keys: 7 });
        let written = json!({"keyValue": encode(&stores)});
        assert_eq!(read(&written), (stores, vec![]));
    }

    #[test]
    fn wrong_fields_are_named_by_path() {
        let spec = json!({"keyValue": {"stores": [
            {"name": "a/b"}, {}, {"name": "a"}, {"name": "a", "keys": 0}, {"name": "b", "size": 1},
        ], "more": 1}});
        let (_, problems) = read(&spec);
        let mut paths: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!(
            paths,
            [
                "spec.keyValue.more",
                "spec.keyValue.stores[0].name",
                "spec.keyValue.stores[1].name",
                "spec.keyValue.stores[3].keys",
                "spec.keyValue.stores[3].name",
                "spec.keyValue.stores[4].size",
            ]
        );
    }
}
