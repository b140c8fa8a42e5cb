//! `io: cgi`: RFC 3875 as WAGI uses it. The answer streams once its header block is complete.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Call;
use dhow_guest::cgi;
use futures_util::stream;
use http::Response;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use percent_encoding::percent_decode_str;
use tokio::sync::mpsc;
use wasmtime_wasi::WasiCtxBuilder;

use crate::body::GuestBody;
use crate::call::command::Exit;
use crate::call::stdio::{is_own_variable, text};
use crate::call::{Running, command, failure, for_guest, is_bodiless};
use crate::flight::Flight;
use crate::host::{BodyStdin, pipe};
use crate::load::Code;

pub(super) async fn answer<B>(
    running: Running<'_>,
    code: &Arc<Code>,
    call: Call<B>,
) -> Result<Response<GuestBody>, Failure>
where
    B: Body<Data = Bytes, Error = Failure> + Send + Unpin + 'static,
{
    let flight = running.flight;
    let method = call.request.method().clone();
    let mut wasi = running.wasi().await?;
    set_args(&mut wasi.builder, flight, &call);
    set_variables(&mut wasi.builder, &call, &flight.target.revision().template.env);
    let body = for_guest(flight, call.request).into_body();
    wasi.builder.stdin(BodyStdin::new(body));
    let (stdout, mut output) = pipe();
    wasi.builder.stdout(stdout);

    let (mut drive, exit) = command::start(flight, code, wasi, running.place);
    let block = drive.until(running.engine, read_block(&mut output)).await;
    // A guest that has ended has let go of the pipe, so the rest of it can be read at once.
    let block = match block {
        Some(block) => block,
        None => read_block(&mut output).await,
    };
    if let Some(failure) = flight.failure() {
        return Err(failure);
    }
    let Some((block, rest)) = block else {
        return Err(match exit.get() {
            Some(code) if *code != 0 => failure::exit(*code, flight.meter()),
            _ => bad("the guest ended before its header block did"),
        });
    };
    let response = cgi::parse_block(&block).map_err(|wrong| bad(wrong.to_string()))?;
    let mut response = response.map(|()| stream_of(rest, output, exit, flight.clone()));
    response.headers_mut().remove(CONTENT_LENGTH);
    flight.set_status(response.status());
    let bodiless = is_bodiless(&method, response.status());
    let ended = drive.has_ended();
    drive.go_on(running.engine);
    Ok(GuestBody::answer(flight, response, ended, bodiless))
}

/// Reads up to the empty line. `None`: the output ended, or grew too long, before that.
async fn read_block(output: &mut mpsc::Receiver<Bytes>) -> Option<(Bytes, Bytes)> {
    let mut read = BytesMut::new();
    // Where the line begins that is not yet whole. What is before it is not looked at again,
    // however small the pieces are.
    let mut line = 0;
    while let Some(piece) = output.recv().await {
        read.extend_from_slice(&piece);
        if let Some(newline) = piece.iter().rposition(|byte| *byte == b'\n') {
            if let Some((end, body)) = cgi::find_end(&read[line..]) {
                let rest = read.split_off(line + body).freeze();
                read.truncate(line + end);
                return Some((read.freeze(), rest));
            }
            line = read.len() - piece.len() + newline + 1;
        }
        if read.len() > cgi::HEADER_BLOCK {
            return None;
        }
    }
    None
}

/// The body as the guest writes it. It is whole only if the guest then ends well.
fn stream_of(
    rest: Bytes,
    output: mpsc::Receiver<Bytes>,
    exit: Exit,
    flight: Arc<Flight>,
) -> wasmtime_wasi_http::WasiBody {
    let state = (Some(rest).filter(|rest| !rest.is_empty()), output, exit, flight);
    let frames = stream::unfold(state, |(rest, mut output, exit, flight)| async move {
        let piece = match rest {
            Some(rest) => Some(rest),
            None => output.recv().await,
        };
        let item = match piece {
            Some(piece) => Ok(Frame::data(piece)),
            None => {
                let code = exit.get().copied().unwrap_or_default();
                if code == 0 || flight.failure().is_some() {
                    return None;
                }
                let failure = flight.fail(failure::exit(code, flight.meter()));
                Err(wasmtime_wasi_http::Error::InternalError(Some(failure.message)))
            }
        };
        Some((item, (None, output, exit, flight)))
    });
    StreamBody::new(Box::pin(frames)).boxed_unsync()
}

/// argv: the program, the function's own arguments, then the query's words (WAGI's default
/// template, `${SCRIPT_NAME} ${ARGS}`).
fn set_args<B>(wasi: &mut WasiCtxBuilder, flight: &Flight, call: &Call<B>) {
    wasi.arg(call.full_uri.path());
    for arg in &flight.target.revision().template.args {
        wasi.arg(arg);
    }
    let query = call.full_uri.query().unwrap_or_default();
    for word in query.split('&').filter(|word| !word.is_empty()) {
        wasi.arg(word);
    }
}

/// `own` is the function's environment, which stays as it is.
fn set_variables<B>(wasi: &mut WasiCtxBuilder, call: &Call<B>, own: &[(String, String)]) {
    let head = &call.request;
    let headers = head.headers();
    let authority = head.uri().authority().map(|authority| authority.to_string());
    let host = authority.or_else(|| text(headers.get(HOST))).unwrap_or_default();
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name.to_owned(), port.to_owned()),
        _ if host.is_empty() => (call.local.ip().to_string(), call.local.port().to_string()),
        _ => (host.clone(), "80".to_owned()),
    };
    let path = call.full_uri.path();
    let raw_info = path.strip_prefix(call.script_name.as_str()).unwrap_or_default();
    let info = percent_decode_str(raw_info).decode_utf8_lossy().replace('\0', "");
    let peer = call.peer.ip().to_string();
    let full_url = format!("http://{host}{}", call.full_uri);
    // In order of weight: what comes later replaces what came before under the same name.
    let mut variables: BTreeMap<String, String> = headers
        .keys()
        .filter(|name| **name != AUTHORIZATION && **name != CONNECTION && is_own_variable(name))
        .filter_map(|name| {
            let variable = name.as_str().to_ascii_uppercase().replace('-', "_");
            Some((format!("HTTP_{variable}"), text(headers.get(name))?))
        })
        .collect();
    variables.extend(
        [
            ("AUTH_TYPE", String::new()),
            ("REMOTE_USER", String::new()),
            ("CONTENT_LENGTH", text(headers.get(CONTENT_LENGTH)).unwrap_or_else(|| "0".to_owned())),
            ("CONTENT_TYPE", text(headers.get(CONTENT_TYPE)).unwrap_or_default()),
            ("GATEWAY_INTERFACE", "CGI/1.1".to_owned()),
            ("SERVER_SOFTWARE", "WAGI/1".to_owned()),
            ("SERVER_PROTOCOL", format!("{:?}", head.version())),
            ("REQUEST_METHOD", head.method().to_string()),
            ("QUERY_STRING", call.full_uri.query().unwrap_or_default().to_owned()),
            ("REMOTE_ADDR", peer.clone()),
            ("REMOTE_HOST", peer.clone()),
            ("SERVER_NAME", name),
            ("SERVER_PORT", port),
            ("SCRIPT_NAME", call.script_name.clone()),
            ("PATH_INFO", info.clone()),
            ("PATH_TRANSLATED", info),
            ("X_RAW_PATH_INFO", raw_info.to_owned()),
            ("X_FULL_URL", full_url),
            ("X_MATCHED_ROUTE", call.script_name.clone()),
            ("X_COMPONENT_ROUTE", call.script_name.clone()),
            ("X_RAW_COMPONENT_ROUTE", call.script_name.clone()),
            ("X_BASE_PATH", "/".to_owned()),
            ("X_CLIENT_ADDR", call.peer.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    );
    for (name, value) in variables {
        // A program finds the first of a name, and the function's own come first.
        if !own.iter().any(|(said, _)| *said == name) {
            wasi.env(name, value);
        }
    }
}

fn bad(message: impl Into<String>) -> Failure {
    Failure::new(Reason::BadResponse, message)
}
