//! `io: keeper`: WasmFunction's contract. A JSON object's `args` become arguments; the lines of
//! standard output come back as JSON.

use std::sync::Arc;

use bytes::Bytes;
use dhow_core::outcome::{Failure, Reason};
use dhow_core::ports::Call;
use dhow_guest::keeper;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;

use crate::body::GuestBody;
use crate::call::{Running, command, failure};
use crate::flight::Flight;
use crate::host::Capture;
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
    let deadline = tokio::time::Instant::from_std(flight.deadline());
    let body = match tokio::time::timeout_at(deadline, call.request.into_body().collect()).await {
        Ok(body) => body?.to_bytes(),
        Err(_) => return Err(flight.wall_time_over()),
    };
    let mut wasi = running.wasi().await?;
    command::set_args(&mut wasi.builder, flight, &keeper::parse_args(&body));
    let output = Capture::new(flight.clone());
    wasi.builder.stdout(output.stream());

    let (mut drive, exit) = command::start(flight, code, wasi, running.place);
    drive.finish(running.engine).await;
    let answer = match (flight.failure(), exit.get()) {
        (None, Some(0)) => keeper::print_output(&String::from_utf8_lossy(&output.take())),
        (None, Some(code)) => {
            keeper::print_error(&flight.fail(failure::exit(*code, flight.meter())).message)
        }
        // The guest's own faults are its answer; the platform's limits are the platform's.
        (Some(failure), _) if is_guests_own(failure.reason) => {
            keeper::print_error(&failure.message)
        }
        (Some(failure), _) => return Err(failure),
        (None, None) => return Err(super::http::said_nothing()),
    };
    json(flight, answer)
}

fn is_guests_own(reason: Reason) -> bool {
    matches!(reason, Reason::Trap | Reason::GuestExit)
}

fn json(flight: &Flight, body: String) -> Result<Response<GuestBody>, Failure> {
    let mut response = Response::new(GuestBody::whole(flight, body.into())?);
    flight.set_status(StatusCode::OK);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}
