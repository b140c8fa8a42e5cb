//! What a guest asks of the world over HTTP. Every ABI asks here, in terms of `http`; WASI's own
//! terms are translated at [`WasiHttpHooks`].

use std::sync::Arc;

use dhow_core::outbound::{OutboundBody, OutboundError, Patience};
use dhow_core::ports::{Egress, Stream};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::host::{Lines, Writer};

/// One instance's way out, by its function's grants.
#[derive(Clone)]
pub(crate) struct Asker {
    /// `None` is nothing granted.
    egress: Option<Arc<dyn Egress>>,
    /// Whose log tells what was denied.
    writer: Writer,
}

type Answer = Result<Response<OutboundBody>, OutboundError>;

impl Asker {
    pub(crate) fn new(egress: Option<Arc<dyn Egress>>, writer: Writer) -> Self {
        Self { egress, writer }
    }

    /// Asks, once: a redirect is an answer. What is denied is told in the function's log.
    pub(crate) fn ask(
        &self,
        request: Request<OutboundBody>,
        patience: Patience,
    ) -> impl Future<Output = Answer> + Send + 'static {
        let asked = match &self.egress {
            Some(egress) => Ok(egress.send(request, patience)),
            None => Err(not_granted(&request)),
        };
        let writer = self.writer.clone();
        async move {
            let answer = match asked {
                Ok(asked) => asked.await,
                Err(error) => Err(error),
            };
            if let Err(error @ OutboundError::Denied { .. }) = &answer {
                Lines::new(writer, Stream::Stderr).note(&format!("[dhow] {error}"));
            }
            answer
        }
    }
}

fn not_granted(request: &Request<OutboundBody>) -> OutboundError {
    let url = request.uri();
    let place = format!(
        "{}://{}",
        url.scheme_str().unwrap_or_default(),
        url.authority().map(http::uri::Authority::as_str).unwrap_or_default()
    );
    let why = format!(
        "the function is granted no network; deploy it with --allow-host {place}, or say \
         network.allow in its manifest"
    );
    OutboundError::Denied { what: format!("{} {place}", request.method()), why, is_address: false }
}

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Asker {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _sent: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let options = options.unwrap_or_default();
        let patience = Patience {
            connect: options.connect_timeout,
            first_byte: options.first_byte_timeout,
            between_bytes: options.between_bytes_timeout,
        };
        let request = request.map(|body| {
            let body = body.map_err(|error| OutboundError::Broken(error.to_string()));
            Box::pin(body) as OutboundBody
        });
        let asked = self.ask(request, patience);
        Box::new(async move {
            let answer = asked.await.map_err(|error| in_wasi(&error))?;
            let answer = answer.map(|body| body.map_err(|error| in_wasi(&error)).boxed_unsync());
            // Connections drive themselves.
            let io: Box<dyn Future<Output = Result<(), Error>> + Send> = Box::new(async { Ok(()) });
            Ok((answer, io))
        })
    }
}

/// As guests read it, in `wasi:http/types.error-code`.
fn in_wasi(error: &OutboundError) -> Error {
    match error {
        OutboundError::Denied { is_address: true, .. } => Error::DestinationIpProhibited,
        OutboundError::Denied { .. } => Error::HttpRequestDenied,
        OutboundError::Url => Error::HttpRequestUriInvalid,
        OutboundError::Name(_) => Error::DnsError { rcode: None, info_code: None },
        OutboundError::Refused => Error::ConnectionRefused,
        OutboundError::Unreachable(_) => Error::DestinationUnavailable,
        OutboundError::ConnectTimeout => Error::ConnectionTimeout,
        OutboundError::ReadTimeout => Error::HttpResponseTimeout,
        OutboundError::Limit => Error::ConnectionLimitReached,
        OutboundError::Certificate(_) => Error::TlsCertificateError,
        OutboundError::Tls(_) => Error::TlsProtocolError,
        OutboundError::Broken(_) => Error::ConnectionTerminated,
        OutboundError::Protocol(_) => Error::HttpProtocolError,
        OutboundError::RequestBody => Error::HttpRequestBodySize(None),
        OutboundError::ResponseBody => Error::HttpResponseBodySize(None),
        OutboundError::Loop(_) => Error::LoopDetected,
        OutboundError::Internal(why) => Error::InternalError(Some(why.clone())),
    }
}
