//! A line that a guest wrote, and the form it is kept in: JSON, one object a line.

use std::borrow::Cow;
use std::io;
use std::time::{Duration, UNIX_EPOCH};

use dhow_core::call::CallId;
use dhow_core::ports::Stream;
use serde::{Deserialize, Serialize};

/// The last millisecond of the year 9999: RFC 3339 has no later one.
const LAST_MS: u64 = 253_402_300_799_999;

/// One line of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    /// Whose call it was.
    pub call: CallId,
    /// The revision that wrote it.
    pub revision: u64,
    /// Which of its outputs.
    pub stream: Stream,
    /// Without its end.
    pub line: String,
}

#[derive(Serialize, Deserialize)]
struct Stored<'a> {
    /// RFC 3339, in UTC, to the millisecond.
    time: Cow<'a, str>,
    call_id: Cow<'a, str>,
    revision: u64,
    stream: Output,
    line: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Output {
    Stdout,
    Stderr,
}

impl LogLine {
    /// As it is kept, with its line feed.
    pub(super) fn encode(&self) -> io::Result<Vec<u8>> {
        let time = UNIX_EPOCH + Duration::from_millis(self.time_ms.min(LAST_MS));
        let mut bytes = serde_json::to_vec(&Stored {
            time: humantime::format_rfc3339_millis(time).to_string().into(),
            call_id: self.call.to_string().into(),
            revision: self.revision,
            stream: match self.stream {
                Stream::Stdout => Output::Stdout,
                Stream::Stderr => Output::Stderr,
            },
            line: self.line.as_str().into(),
        })?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// Reads what [`LogLine::encode`] made; `None` of anything else, such as half a line.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let stored: Stored<'_> = serde_json::from_slice(bytes).ok()?;
        let since = humantime::parse_rfc3339(&stored.time).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Self {
            time_ms: u64::try_from(since.as_millis()).ok()?,
            call: CallId::parse(&stored.call_id)?,
            revision: stored.revision,
            stream: match stored.stream {
                Output::Stdout => Stream::Stdout,
                Output::Stderr => Stream::Stderr,
            },
            line: stored.line.into_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_kept_as_json_and_read_back() {
        let line = LogLine {
            time_ms: 1_767_323_045_678,
            call: CallId(10),
            revision: 3,
            stream: Stream::Stderr,
            line: "a \"b\"\n\u{1}".to_owned(),
        };
        let kept = String::from_utf8(line.encode().unwrap()).unwrap();
        let expected = concat!(
            r#"{"time":"2026-01-02T03:04:05.678Z","call_id":"0000000000000000000000000000000a","#,
            r#""revision":3,"stream":"stderr","line":"a \"b\"\n\u0001"}"#,
            "\n"
        );
        assert_eq!(kept, expected);
        assert_eq!(LogLine::decode(kept.as_bytes()), Some(line.clone()));
        assert_eq!(LogLine::decode(&kept.as_bytes()[..60]), None);
        let last = LogLine { time_ms: u64::MAX, ..line };
        assert_eq!(LogLine::decode(&last.encode().unwrap()).unwrap().time_ms, LAST_MS);
    }
}
