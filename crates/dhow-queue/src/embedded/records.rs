//! What is written of a call, as JSON: its head once, its state with each change, the head of its
//! answer. Fields that are added later are optional.
//!
//! Header values are bytes; here each byte is one character (ISO 8859-1).

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::name::{FunctionName, Label};
use dhow_core::queue::{Answer, CallHead, NewCall, Note};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use super::state::{Place, Resume, State, Wants, millis};

/// What never changes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) call: CallId,
    pub(super) function: FunctionName,
    pub(super) queue: Label,
    pub(super) head: CallHead,
    pub(super) callback: Option<Uri>,
    pub(super) keep_result: Duration,
    pub(super) created_ms: u64,
    /// Bytes of its body.
    pub(super) length: u64,
    /// The body is a file of its own.
    pub(super) in_file: bool,
}

#[derive(Serialize, Deserialize)]
struct HeadRecord {
    call: String,
    namespace: String,
    name: String,
    queue: String,
    method: String,
    uri: String,
    full_uri: String,
    script_name: String,
    headers: Vec<(String, String)>,
    peer: SocketAddr,
    local: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    callback: Option<String>,
    keep_result_ms: u64,
    created_ms: u64,
    length: u64,
    in_file: bool,
}

#[derive(Serialize, Deserialize)]
struct StateRecord {
    place: String,
    attempts: u32,
    due_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<NoteRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verdict: Option<NoteRecord>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct NoteRecord {
    reason: String,
    status: u16,
    message: String,
}

#[derive(Serialize, Deserialize)]
struct AnswerRecord {
    status: u16,
    headers: Vec<(String, String)>,
    is_cut: bool,
    took_us: u64,
}

impl Head {
    pub(super) fn new(call: &NewCall, created_ms: u64, length: u64, in_file: bool) -> Self {
        Self {
            call: call.id,
            function: call.function.clone(),
            queue: call.queue.clone(),
            head: call.head.clone(),
            callback: call.callback.clone(),
            keep_result: call.keep_result,
            created_ms,
            length,
            in_file,
        }
    }

    pub(super) fn wants(&self) -> Wants {
        Wants {
            callback: self.callback.is_some(),
            keep_result: self.keep_result,
            created_ms: self.created_ms,
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let CallHead { method, uri, full_uri, script_name, headers, peer, local } = &self.head;
        json(&HeadRecord {
            call: self.call.to_string(),
            namespace: self.function.namespace.to_string(),
            name: self.function.name.to_string(),
            queue: self.queue.to_string(),
            method: method.to_string(),
            uri: uri.to_string(),
            full_uri: full_uri.to_string(),
            script_name: script_name.clone(),
            headers: write_headers(headers),
            peer: *peer,
            local: *local,
            callback: self.callback.as_ref().map(Uri::to_string),
            keep_result_ms: millis(self.keep_result),
            created_ms: self.created_ms,
            length: self.length,
            in_file: self.in_file,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record: HeadRecord = parse(bytes)?;
        let label = |text: &str| text.parse::<Label>().map_err(|error| error.to_string());
        let uri = |text: &str| text.parse::<Uri>().map_err(|error| error.to_string());
        Ok(Self {
            call: CallId::parse(&record.call).ok_or("`call` is no call id")?,
            function: FunctionName {
                namespace: label(&record.namespace)?,
                name: label(&record.name)?,
            },
            queue: label(&record.queue)?,
            head: CallHead {
                method: record.method.parse::<Method>().map_err(|error| error.to_string())?,
                uri: uri(&record.uri)?,
                full_uri: uri(&record.full_uri)?,
                script_name: record.script_name,
                headers: read_headers(&record.headers)?,
                peer: record.peer,
                local: record.local,
            },
            callback: record.callback.as_deref().map(uri).transpose()?,
            keep_result: Duration::from_millis(record.keep_result_ms),
            created_ms: record.created_ms,
            length: record.length,
            in_file: record.in_file,
        })
    }
}

impl State {
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let place = match self.place {
            Place::Run => "run",
            Place::CallBack => "callback",
            Place::Done => "done",
            Place::Dead(Resume::Run) => "dead",
            Place::Dead(Resume::CallBack) => "dead-callback",
        };
        json(&StateRecord {
            place: place.to_owned(),
            attempts: self.attempts,
            due_ms: self.due_ms,
            note: self.note.clone().map(NoteRecord::from),
            verdict: self.verdict.clone().map(NoteRecord::from),
            since_ms: self.since_ms,
        })
    }

    pub(super) fn decode(bytes: &[u8]) -> Result<Self, String> {
        let record: StateRecord = parse(bytes)?;
        let place = match record.place.as_str() {
            "run" => Place::Run,
            "callback" => Place::CallBack,
            "done" => Place::Done,
            "dead" => Place::Dead(Resume::Run),
            "dead-callback" => Place::Dead(Resume::CallBack),
            other => return Err(format!("`place` is `{other}`")),
        };
        Ok(Self {
            place,
            attempts: record.attempts,
            due_ms: record.due_ms,
            note: record.note.map(Note::from),
            verdict: record.verdict.map(Note::from),
            since_ms: record.since_ms,
        })
    }
}

/// The bytes of an answer without its body.
pub(super) fn encode_answer(answer: &Answer) -> Result<Vec<u8>, String> {
    json(&AnswerRecord {
        status: answer.status.as_u16(),
        headers: write_headers(&answer.headers),
        is_cut: answer.is_cut,
        took_us: u64::try_from(answer.took.as_micros()).unwrap_or(u64::MAX),
    })
}

/// An answer of its two parts.
pub(super) fn decode_answer(head: &[u8], body: Bytes) -> Result<Answer, String> {
    let record: AnswerRecord = parse(head)?;
    Ok(Answer {
        status: StatusCode::from_u16(record.status).map_err(|error| error.to_string())?,
        headers: read_headers(&record.headers)?,
        body,
        is_cut: record.is_cut,
        took: Duration::from_micros(record.took_us),
    })
}

impl From<Note> for NoteRecord {
    fn from(note: Note) -> Self {
        let Note { reason, status, message } = note;
        Self { reason, status, message }
    }
}

impl From<NoteRecord> for Note {
    fn from(record: NoteRecord) -> Self {
        let NoteRecord { reason, status, message } = record;
        Self { reason, status, message }
    }
}

fn write_headers(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &HeaderValue| value.as_bytes().iter().copied().map(char::from).collect();
    headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

fn read_headers(pairs: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::with_capacity(pairs.len());
    for (name, value) in pairs {
        let bytes: Result<Vec<u8>, _> = value.chars().map(u8::try_from).collect();
        let value = bytes.ok().and_then(|bytes| HeaderValue::from_bytes(&bytes).ok());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|error| error.to_string())?;
        headers.append(name, value.ok_or("a header's value is none")?);
    }
    Ok(headers)
}

fn json(record: &impl Serialize) -> Result<Vec<u8>, String> {
    serde_json::to_vec(record).map_err(|error| error.to_string())
}

fn parse<'r, T: Deserialize<'r>>(bytes: &'r [u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(headers: HeaderMap) -> Head {
        Head {
            call: CallId(0xab << 100),
            function: FunctionName::parse("f.shop").unwrap(),
            queue: "slow".parse().unwrap(),
            head: CallHead {
                method: Method::from_bytes(b"PURGE").unwrap(),
                uri: "/a%20b?c=d".parse().unwrap(),
                full_uri: "/function/f.shop/a%20b?c=d".parse().unwrap(),
                script_name: "/function/f.shop".to_owned(),
                headers,
                peer: "[::1]:9".parse().unwrap(),
                local: "127.0.0.1:8080".parse().unwrap(),
            },
            callback: Some("https://example.com:8443/x?y".parse().unwrap()),
            keep_result: Duration::from_secs(60),
            created_ms: 17,
            length: 1 << 33,
            in_file: true,
        }
    }

    proptest! {
        #[test]
        fn a_head_reads_back_whatever_bytes_its_headers_hold(
            values in proptest::collection::vec("[\\x20-\\x7e\u{80}-\u{ff}]{0,20}", 0..5),
        ) {
            let mut headers = HeaderMap::new();
            for value in values {
                let bytes: Vec<u8> = value.chars().map(|c| u8::try_from(c).unwrap()).collect();
                headers.append("x-a", HeaderValue::from_bytes(&bytes).unwrap());
            }
            let head = head(headers);
            prop_assert_eq!(Head::decode(&head.encode().unwrap()), Ok(head));
        }
    }

    #[test]
    fn a_state_and_an_answer_read_back() {
        let note = Some(Note::new("trap", 500, "it trapped"));
        for place in [
            Place::Run,
            Place::CallBack,
            Place::Done,
            Place::Dead(Resume::Run),
            Place::Dead(Resume::CallBack),
        ] {
            let verdict = note.clone().filter(|_| place == Place::CallBack);
            let since_ms = verdict.as_ref().map(|_| 7);
            let (attempts, due_ms, note) = (3, 9, note.clone());
            let state = State { place, attempts, due_ms, note, verdict, since_ms };
            assert_eq!(State::decode(&state.encode().unwrap()), Ok(state));
        }
        let answer = Answer {
            status: StatusCode::NO_CONTENT,
            headers: HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]),
            body: Bytes::from_static(b"\0\xff"),
            is_cut: true,
            took: Duration::from_micros(5),
        };
        let bytes = encode_answer(&answer).unwrap();
        assert_eq!(decode_answer(&bytes, answer.body.clone()), Ok(answer));
    }

    #[test]
    fn what_is_no_record_is_refused() {
        assert!(Head::decode(b"{}").is_err());
        let later = br#"{"place":"somewhere","attempts":0,"due_ms":0}"#;
        assert_eq!(State::decode(later), Err("`place` is `somewhere`".to_owned()));
    }
}
