//! Answers on their way to who asked for them: `POST` to the URL of `X-Callback-Url`, with the
//! function's answer as the body and its headers, and the call's under OpenFaaS' names.
//!
//! Where to may be anybody's word, so every address is asked about ([`connect`](self)) and
//! redirects are few, keep the method, and never leave TLS.

mod connect;
mod request;

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use dhow_core::call::CallId;
use dhow_core::name::FunctionName;
use dhow_core::plan::egress::EgressRule;
use dhow_core::queue::{Answer, Note, RETRIED};
use http::header::LOCATION;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::{Client, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;

use self::connect::{ConnectError, Connector};
use crate::runner::retry_after;

/// Redirects of one delivery.
const REDIRECTS: usize = 3;
/// Bytes of a receiver's answer that are read, so that its connection can be used again.
const ANSWER: usize = 64 << 10;
/// How long a connection is kept that nobody uses.
const IDLE: Duration = Duration::from_secs(30);

/// Delivers answers.
pub struct Callbacks {
    rule: Arc<EgressRule>,
    times: Times,
    /// Made with the first delivery: reading the system's authorities takes a while.
    client: OnceLock<Result<HttpClient, String>>,
}

type HttpClient = Client<HttpsConnector<Connector>, Full<Bytes>>;

/// How long a delivery may take.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    /// To resolve the name, and to connect to an address.
    pub connect: Duration,
    /// From the first byte to the last, redirects included.
    pub whole: Duration,
}

/// What came of a delivery.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// It was taken.
    Delivered,
    /// It will never be taken.
    Refused(Note),
    /// It may be taken later; who answered may have said when.
    Failed(Note, Option<Duration>),
}

impl Callbacks {
    /// Delivers where `rule` lets it.
    pub fn new(rule: Arc<EgressRule>, times: Times) -> Self {
        Self { rule, times, client: OnceLock::new() }
    }

    /// Delivers `answer` to `url`, once.
    pub(crate) async fn deliver(
        &self,
        url: &Uri,
        call: CallId,
        function: &FunctionName,
        attempts: u32,
        answer: Answer,
    ) -> Delivery {
        let client = match self.client.get_or_init(|| self.connect_with()) {
            Ok(client) => client,
            Err(why) => return failed(format!("TLS can't be used: {why}")),
        };
        let headers = request::headers(call, function, attempts, &answer);
        let delivery = self.follow(client, url, &headers, answer.body);
        timeout(self.times.whole, delivery).await.unwrap_or_else(|_| {
            failed(format!("it was not taken within {} s", self.times.whole.as_secs()))
        })
    }

    async fn follow(
        &self,
        client: &HttpClient,
        url: &Uri,
        headers: &http::HeaderMap,
        body: Bytes,
    ) -> Delivery {
        let mut url = url.clone();
        for _ in 0..=REDIRECTS {
            let request = request::post(&url, headers, body.clone());
            let response = match client.request(request).await {
                Ok(response) => response,
                Err(error) => return of_error(&error),
            };
            match response.status() {
                // The others would change the method, and with it what is asked for.
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    match request::redirected(&url, response.headers().get(LOCATION)) {
                        Ok(next) => url = next,
                        Err(why) => return refused(response.status(), why),
                    }
                }
                _ => return of_answer(response).await,
            }
        }
        refused(StatusCode::TEMPORARY_REDIRECT, "it redirects too often".to_owned())
    }

    fn connect_with(&self) -> Result<HttpClient, String> {
        let mut roots = rustls::RootCertStore::empty();
        // A machine may have none, or a broken one among many: a receiver that needs it says so.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = Connector { rule: self.rule.clone(), wait: self.times.connect };
        let connector = hyper_rustls::HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector))
    }
}

async fn of_answer(response: Response<Incoming>) -> Delivery {
    let status = response.status();
    let asked = retry_after(response.headers());
    // What it says is nobody's business; an answer that is too long costs its connection.
    let _said = Limited::new(response.into_body(), ANSWER).collect().await;
    let message = format!("the callback was answered {status}");
    if status.is_success() {
        Delivery::Delivered
    } else if RETRIED.contains(&status) {
        Delivery::Failed(Note::new("callback-failed", status.as_u16(), message), asked)
    } else {
        refused(status, message)
    }
}

fn of_error(error: &ClientError) -> Delivery {
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<ConnectError>() {
            let message = format!("the callback can't be delivered: {error}");
            return match error {
                ConnectError::Closed { .. } | ConnectError::NoHost => {
                    Delivery::Refused(Note::new("callback-refused", 0, message))
                }
                _ => failed(message),
            };
        }
        source = cause.source();
    }
    let why = error.source().map_or_else(|| error.to_string(), ToString::to_string);
    failed(format!("the callback can't be delivered: {why}"))
}

fn failed(message: String) -> Delivery {
    Delivery::Failed(Note::new("callback-failed", 0, message), None)
}

fn refused(status: StatusCode, message: String) -> Delivery {
    Delivery::Refused(Note::new("callback-refused", status.as_u16(), message))
}

#[cfg(test)]
mod tests;
