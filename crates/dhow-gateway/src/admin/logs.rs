//! What a function's calls wrote.

use std::future::ready;
use std::io;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query as FromQuery, State};
use axum::response::Response;
use dhow_core::name::FunctionName;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt, stream};
use serde::Deserialize;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};
use tokio::task::spawn_blocking;

use super::calls::call_id;
use super::error::ApiError;
use super::functions::find;
use super::path::Named;
use super::serve::Draining;
use super::wire::LogLine;
use super::{Admin, ndjson, time};
use crate::logs::{self, Query};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogQuery {
    #[serde(default)]
    follow: bool,
    tail: Option<usize>,
    /// Seconds.
    since: Option<u64>,
    call: Option<String>,
}

/// The lines that are kept, oldest first; with `follow` then those that come, until the client
/// leaves or the server ends.
pub(super) async fn read(
    State(admin): State<Admin>,
    Extension(draining): Extension<Draining>,
    Named(name): Named,
    query: Result<FromQuery<LogQuery>, QueryRejection>,
) -> Result<Response, ApiError> {
    let FromQuery(LogQuery { follow, tail, since, call }) = query?;
    let call = call.map(|text| call_id(&text)).transpose()?;
    let since_ms = since.map(|s| time::now_ms().saturating_sub(s.saturating_mul(1000)));
    find(&admin, &name)?;
    let heard = lines(&admin, draining, &name, Query { tail, since_ms, call }, follow).await?;
    Ok(ndjson::respond(heard.map(|heard| match heard {
        Heard::Line(line) => LogLine::from(line),
        Heard::Missed(count) => LogLine::missed(count, time::now_ms()),
    })))
}

/// The lines that are kept and, for whoever follows, those that come, until the server ends.
pub(crate) async fn lines(
    admin: &Admin,
    draining: Draining,
    name: &FunctionName,
    query: Query,
    follow: bool,
) -> Result<BoxStream<'static, Heard>, ApiError> {
    let call = query.call;
    // Heard from now on, so that no line is lost between those that are kept and those to come.
    let live = follow.then(|| admin.logs.follow(name));
    // What a call wrote is there for whoever asks after the call.
    admin.logs.flush().await;
    let kept = kept(admin.clone(), name.clone(), query).await?;
    let Some(mut live) = live else {
        return Ok(stream::iter(kept).map(Heard::Line).boxed());
    };
    let early = early(&mut live, kept.last());
    let wanted = move |heard: &Heard| match heard {
        Heard::Line(line) => call.is_none_or(|call| line.call == call),
        Heard::Missed(_) => true,
    };
    let heard = stream::iter(early).chain(heard(live)).filter(move |heard| ready(wanted(heard)));
    let lines = stream::iter(kept).map(Heard::Line).chain(heard);
    Ok(lines.take_until(Box::pin(draining.begins())).boxed())
}

async fn kept(
    admin: Admin,
    name: FunctionName,
    query: Query,
) -> Result<Vec<logs::LogLine>, ApiError> {
    let read = spawn_blocking(move || admin.logs.read(&name, &query)).await;
    read.unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| ApiError::internal(format!("the log can't be read: {error}")))
}

/// What a follower hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Line(logs::LogLine),
    /// The client was so slow that so many lines have passed.
    Missed(u64),
}

/// What was heard while the kept lines were read, without what is among them, the newest of which
/// is `last`. Where equal lines leave a doubt, one is told twice rather than never.
fn early(live: &mut Receiver<logs::LogLine>, last: Option<&logs::LogLine>) -> Vec<Heard> {
    let mut early = Vec::new();
    loop {
        match live.try_recv() {
            Ok(line) => early.push(Heard::Line(line)),
            Err(TryRecvError::Lagged(count)) => early.push(Heard::Missed(count)),
            Err(TryRecvError::Empty | TryRecvError::Closed) => break,
        }
    }
    let is_last = |heard: &Heard| matches!(heard, Heard::Line(line) if Some(line) == last);
    let told = early.iter().position(is_last).map_or(0, |index| index + 1);
    early.split_off(told)
}

fn heard(live: Receiver<logs::LogLine>) -> impl Stream<Item = Heard> {
    stream::unfold(live, |mut live| async {
        let heard = match live.recv().await {
            Ok(line) => Heard::Line(line),
            Err(RecvError::Lagged(count)) => Heard::Missed(count),
            Err(RecvError::Closed) => return None,
        };
        Some((heard, live))
    })
}

#[cfg(test)]
mod tests {
    use dhow_core::call::CallId;
    use tokio::sync::broadcast;

    use super::*;

    fn line(text: &str) -> logs::LogLine {
        logs::LogLine {
            time_ms: 1,
            call: CallId(1),
            revision: 1,
            stream: dhow_core::ports::Stream::Stdout,
            line: text.to_owned(),
        }
    }

    #[test]
    fn lines_that_are_kept_and_heard_are_told_once() {
        for (last, told) in
            [(Some("a"), vec!["b", "c"]), (Some("c"), vec![]), (Some("0"), vec!["a", "b", "c"])]
        {
            let (sender, mut live) = broadcast::channel(8);
            for text in ["a", "b", "c"] {
                sender.send(line(text)).unwrap();
            }
            let told: Vec<_> = told.into_iter().map(|text| Heard::Line(line(text))).collect();
            assert_eq!(early(&mut live, last.map(line).as_ref()), told);
        }
    }

    #[tokio::test]
    async fn a_slow_reader_hears_how_much_it_missed() {
        let (sender, live) = broadcast::channel(2);
        for text in ["a", "b", "c", "d"] {
            sender.send(line(text)).unwrap();
        }
        let mut early_live = live.resubscribe();
        drop(sender);
        let all: Vec<_> = heard(live).collect().await;
        let line = |text| Heard::Line(line(text));
        assert_eq!(all, [Heard::Missed(2), line("c"), line("d")]);
        assert_eq!(early(&mut early_live, None), []);
    }
}
