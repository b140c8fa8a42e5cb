//! One record, and the form it is kept in.

use std::net::IpAddr;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// The last millisecond of the year 9999: RFC 3339 has no later one.
const LAST_MS: u64 = 253_402_300_799_999;
/// Bytes of an object's name or a detail that are kept.
const MOST_TEXT: usize = 512;

/// What was done, or refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// When it was answered, milliseconds since 1970.
    pub time_ms: u64,
    /// Who asked.
    pub who: Who,
    /// From where.
    pub peer: Option<IpAddr>,
    /// The `operationId` of the API's description, or `-` for what it does not have.
    pub action: String,
    /// On what, such as `namespaces/default/functions/hello`; empty for what the API does not have.
    pub object: String,
    /// What came of it, such as the revision; never a secret.
    pub detail: Option<String>,
    /// The answer's status.
    pub status: u16,
    /// Why it was refused.
    pub reason: Option<String>,
    /// Requests before this one that were refused and have no record, because too many came.
    pub unrecorded: u64,
}

/// Who asked for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Somebody on this machine, of whom no credentials are asked.
    Loopback,
    /// Somebody on another machine, where nobody is asked for credentials.
    Anybody,
    /// Whoever has the admin secret.
    Admin,
    /// Whoever has the token of this name.
    Token(String),
    /// Somebody who was not let in.
    Unknown,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    /// RFC 3339, in UTC, to the millisecond.
    time: String,
    who: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    peer: Option<IpAddr>,
    action: String,
    object: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    unrecorded: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's own signature")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Who {
    /// `loopback`, `anybody`, `admin`, `token:NAME` or `unknown`.
    pub fn as_text(&self) -> String {
        match self {
            Self::Loopback => "loopback".to_owned(),
            Self::Anybody => "anybody".to_owned(),
            Self::Admin => "admin".to_owned(),
            Self::Token(name) => format!("token:{name}"),
            Self::Unknown => "unknown".to_owned(),
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "loopback" => Self::Loopback,
            "anybody" => Self::Anybody,
            "admin" => Self::Admin,
            text => match text.strip_prefix("token:") {
                Some(name) => Self::Token(name.to_owned()),
                None => Self::Unknown,
            },
        }
    }
}

impl Record {
    /// As it is kept, with its line feed.
    pub(super) fn encode(&self) -> Vec<u8> {
        let time = UNIX_EPOCH + Duration::from_millis(self.time_ms.min(LAST_MS));
        let stored = Stored {
            time: humantime::format_rfc3339_millis(time).to_string(),
            who: self.who.as_text(),
            peer: self.peer,
            action: self.action.clone(),
            object: cut(&self.object),
            detail: self.detail.as_deref().map(cut),
            status: self.status,
            reason: self.reason.clone(),
            unrecorded: self.unrecorded,
        };
        let mut line = serde_json::to_vec(&stored).expect("text and numbers are JSON");
        line.push(b'\n');
        line
    }

    /// Reads a line; `None` when a crash or somebody else left something there.
    pub(super) fn decode(line: &[u8]) -> Option<Self> {
        let stored: Stored = serde_json::from_slice(line).ok()?;
        let time = humantime::parse_rfc3339(&stored.time).ok()?;
        let since = time.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            time_ms: u64::try_from(since.as_millis()).ok()?,
            who: Who::parse(&stored.who),
            peer: stored.peer,
            action: stored.action,
            object: stored.object,
            detail: stored.detail,
            status: stored.status,
            reason: stored.reason,
            unrecorded: stored.unrecorded,
        })
    }
}

fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(MOST_TEXT)].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_on_disk_is_fixed() {
        let record = Record {
            time_ms: 1_767_323_045_678,
            who: Who::Token("ci".to_owned()),
            peer: Some([192, 0, 2, 1].into()),
            action: "deployFunction".to_owned(),
            object: "namespaces/default/functions/a\"\n".to_owned(),
            detail: Some("revision 3".to_owned()),
            status: 409,
            reason: Some("conflict".to_owned()),
            unrecorded: 0,
        };
        let line = String::from_utf8(record.encode()).unwrap();
        let expected = concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","who":"token:ci","peer":"192.0.2.1","#,
            r#""action":"deployFunction","object":"namespaces/default/functions/a\"\n","#,
            r#""detail":"revision 3","status":409,"reason":"conflict"}"#,
            "\n"
        );
        assert_eq!(line, expected);
        assert_eq!(Record::decode(line.as_bytes()), Some(record.clone()));
        assert_eq!(Record::decode(&line.as_bytes()[..80]), None);
        for who in [Who::Loopback, Who::Anybody, Who::Admin, Who::Unknown] {
            let record = Record { who, unrecorded: 7, ..record.clone() };
            assert_eq!(Record::decode(&record.encode()), Some(record));
        }
        let long = Record { object: "ä".repeat(MOST_TEXT), ..record };
        assert_eq!(Record::decode(&long.encode()).unwrap().object.len(), MOST_TEXT);
    }
}
