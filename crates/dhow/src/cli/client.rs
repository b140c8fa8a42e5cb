//! A client of the admin API. Knows addresses, methods and the shape of answers; prints nothing.

mod observed;

use std::fs::File;
use std::io::{BufReader, Read};
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use dhow_core::call::CallId;
use dhow_core::function::ImageSource;
use dhow_core::name::{DEFAULT_NAMESPACE, FunctionName, Label};
use dhow_core::queue::CallState;
use dhow_core::traffic::{Share, Traffic};
use dhow_dialects::meant::meant;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;
use ureq::{Agent, AsSendBody, Body};
use zeroize::Zeroizing;

use super::error::{CommandError, Kind};
use super::settings::{self, CONNECT_TIMEOUT, Secret, Settings};
use super::trust::Trust;
use super::wire::{
    ArtifactEvent, AsyncCall, AsyncCalls, FunctionStatus, Items, NewToken, Problem, Purged,
    QuotaStatus, RevisionStatus, SecretStatus, ServerVersion, TokenStatus,
};

/// Bytes of an answer that is read as a whole. Ten thousand functions need a few of them.
const MOST_ANSWER: u64 = 256 << 20;

/// Speaks to one server.
pub struct Client {
    plain: Agent,
    /// Made with the first address of https: it reads the system's authorities.
    secure: OnceLock<Agent>,
    /// How long an answer may take.
    patience: Option<Duration>,
    trust: Trust,
    server: String,
    token: Option<Secret>,
}

/// An answer as it came, and what of it is used here.
#[derive(Debug, Clone)]
pub struct Answer<T> {
    /// As the server said it.
    pub raw: Value,
    /// What is used here.
    pub read: T,
}

/// Which lines of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogQuery {
    /// Go on with what comes.
    pub follow: bool,
    /// At most so many old ones.
    pub tail: Option<u64>,
    /// None that is older, seconds.
    pub since: Option<u64>,
    /// Those of one call.
    pub call: Option<String>,
}

/// Which asynchronous calls.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CallQuery {
    /// Those to functions of this namespace.
    pub namespace: Option<Label>,
    /// Those to functions of this name.
    pub function: Option<Label>,
    /// Those that stand there.
    pub state: Option<CallState>,
    /// Those after this one.
    pub after: Option<String>,
    /// At most so many.
    pub limit: u32,
}

impl Client {
    /// A client of the server that the settings name. Connects to nothing yet.
    pub fn new(settings: &Settings) -> Self {
        Self::with(settings, None)
    }

    /// A client for whom each answer takes at most `patience`.
    pub(crate) fn quick(settings: &Settings, patience: Duration) -> Self {
        Self::with(settings, Some(patience))
    }

    fn with(settings: &Settings, patience: Option<Duration>) -> Self {
        Self {
            plain: config(patience).build().new_agent(),
            secure: OnceLock::new(),
            patience,
            trust: settings.trust.clone(),
            server: settings.server.clone(),
            token: settings.token.clone(),
        }
    }

    /// `GET /api/v1/version`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn version(&self) -> Result<Answer<ServerVersion>, CommandError> {
        self.get("/api/v1/version")
    }

    /// The server's version, and the date that it says it is.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub(crate) fn greet(&self) -> Result<(ServerVersion, Option<SystemTime>), CommandError> {
        let answer = self.send(http::Request::get(self.url("/api/v1/version")).body(()))?;
        let date = answer.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
        Ok((read(answer)?.read, date))
    }

    /// `GET /api/v1/functions`, of one namespace or of all.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn functions(
        &self,
        namespace: Option<&Label>,
    ) -> Result<Answer<Items<FunctionStatus>>, CommandError> {
        let query = namespace.map(|namespace| format!("?namespace={namespace}"));
        self.get(&format!("/api/v1/functions{}", query.unwrap_or_default()))
    }

    /// `GET` of one function.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn function(&self, name: &FunctionName) -> Result<Answer<FunctionStatus>, CommandError> {
        self.about(name, self.get(&path_of(name)))
    }

    /// `PUT` of one function.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn deploy(
        &self,
        name: &FunctionName,
        manifest: &Value,
    ) -> Result<Answer<FunctionStatus>, CommandError> {
        self.put(&path_of(name), manifest)
    }

    /// What [`Self::deploy`] would answer, with nothing changed.
    ///
    /// # Errors
    /// When the server is not there or would refuse.
    pub fn rehearse(
        &self,
        name: &FunctionName,
        manifest: &Value,
    ) -> Result<Answer<FunctionStatus>, CommandError> {
        self.put(&format!("{}?dryRun=true", path_of(name)), manifest)
    }

    /// The revisions of a function that are kept, newest first.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn revisions(
        &self,
        name: &FunctionName,
    ) -> Result<Answer<Items<RevisionStatus>>, CommandError> {
        self.about(name, self.get(&format!("{}/revisions", path_of(name))))
    }

    /// Puts an earlier revision in force; `None` is the one before.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn roll_back(
        &self,
        name: &FunctionName,
        to: Option<u64>,
    ) -> Result<Answer<FunctionStatus>, CommandError> {
        let body = json!({"to": to}).to_string();
        let url = self.url(&format!("{}/rollback", path_of(name)));
        let request = http::Request::post(url).header("content-type", "application/json");
        read(self.about(name, self.send(request.body(body)))?)
    }

    /// Spreads a function's calls over its revisions.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn split_traffic(
        &self,
        name: &FunctionName,
        traffic: &Traffic,
    ) -> Result<Answer<FunctionStatus>, CommandError> {
        let share = |share: &Share| json!({"revision": share.revision, "weight": share.weight});
        let weights: Vec<_> = traffic.shares().iter().map(share).collect();
        let split = self.put(&format!("{}/traffic", path_of(name)), &json!({"weights": weights}));
        self.about(name, split)
    }

    /// Sends every call to the revision in force.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn clear_traffic(
        &self,
        name: &FunctionName,
    ) -> Result<Answer<FunctionStatus>, CommandError> {
        let url = self.url(&format!("{}/traffic", path_of(name)));
        read(self.about(name, self.send(http::Request::delete(url).body(())))?)
    }

    fn put(&self, path: &str, manifest: &Value) -> Result<Answer<FunctionStatus>, CommandError> {
        let answer = self.send(
            http::Request::put(self.url(path))
                .header("content-type", "application/json")
                .body(manifest.to_string()),
        )?;
        read(answer)
    }

    /// `DELETE` of one function.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn delete(&self, name: &FunctionName) -> Result<(), CommandError> {
        self.about(name, self.send(http::Request::delete(self.url(&path_of(name))).body(())))?;
        Ok(())
    }

    /// Sends a module. The answer's events come as they happen.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn upload(
        &self,
        program: &str,
        module: File,
    ) -> Result<impl Iterator<Item = Result<ArtifactEvent, CommandError>> + use<>, CommandError>
    {
        let path = format!("/api/v1/artifacts?program={}", encode(program));
        let answer = self.send(
            http::Request::post(self.url(&path))
                .header("content-type", "application/octet-stream")
                .body(module),
        )?;
        Ok(lines(answer).map(|line| line.map(|line: Answer<ArtifactEvent>| line.read)))
    }

    /// `GET /api/v1/calls`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn calls(&self, query: &CallQuery) -> Result<Answer<AsyncCalls>, CommandError> {
        self.get(&format!("/api/v1/calls{}&limit={}", query.encode(), query.limit))
    }

    /// `DELETE /api/v1/calls`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn purge_calls(&self, query: &CallQuery) -> Result<Answer<Purged>, CommandError> {
        let url = self.url(&format!("/api/v1/calls{}", query.encode()));
        read(self.send(http::Request::delete(url).body(()))?)
    }

    /// `GET` of one asynchronous call.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn async_call(&self, call: CallId) -> Result<Answer<AsyncCall>, CommandError> {
        self.get(&format!("/api/v1/calls/{call}"))
    }

    /// The body of the answer that is kept of a call.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn call_result(&self, call: CallId) -> Result<Vec<u8>, CommandError> {
        let url = self.url(&format!("/api/v1/calls/{call}/result"));
        let mut answer = self.send(http::Request::get(url).body(()))?;
        let body = answer.body_mut().with_config().limit(MOST_ANSWER).read_to_vec();
        body.map_err(|error| unreadable(reason(&error)))
    }

    /// Tries a call again.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn retry_call(&self, call: CallId) -> Result<Answer<AsyncCall>, CommandError> {
        let url = self.url(&format!("/api/v1/calls/{call}/retry"));
        read(self.send(http::Request::post(url).body(()))?)
    }

    /// Forgets a call.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn cancel_call(&self, call: CallId) -> Result<(), CommandError> {
        let url = self.url(&format!("/api/v1/calls/{call}"));
        self.send(http::Request::delete(url).body(()))?;
        Ok(())
    }

    /// Lets the server pull an image for `namespace`. The answer's events come as they happen.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn pull(
        &self,
        namespace: &Label,
        image: &ImageSource,
    ) -> Result<impl Iterator<Item = Result<ArtifactEvent, CommandError>> + use<>, CommandError>
    {
        let wanted = json!({
            "reference": image.reference,
            "pullSecrets": image.pull_secrets.iter().map(Label::as_str).collect::<Vec<_>>(),
            "command": image.command,
        });
        let answer = self.send(
            http::Request::post(self.url(&format!("/api/v1/namespaces/{namespace}/images")))
                .header("content-type", "application/json")
                .body(wanted.to_string()),
        )?;
        Ok(lines(answer).map(|line| line.map(|line: Answer<ArtifactEvent>| line.read)))
    }

    /// `PUT` of one secret, whose values stand in `manifest` in base64.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn put_secret(
        &self,
        namespace: &Label,
        name: &Label,
        manifest: &Value,
    ) -> Result<(), CommandError> {
        let body = Zeroizing::new(manifest.to_string());
        self.send(
            http::Request::put(self.url(&secret_path(namespace, name)))
                .header("content-type", "application/json")
                .body(body.as_str()),
        )?;
        Ok(())
    }

    /// The secrets of one namespace, or of all, without their values.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn secrets(
        &self,
        namespace: Option<&Label>,
    ) -> Result<Answer<Items<SecretStatus>>, CommandError> {
        let of = namespace.map(|namespace| format!("namespaces/{namespace}/"));
        self.get(&format!("/api/v1/{}secrets", of.unwrap_or_default()))
    }

    /// `DELETE` of one secret.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn delete_secret(&self, namespace: &Label, name: &Label) -> Result<(), CommandError> {
        self.send(http::Request::delete(self.url(&secret_path(namespace, name))).body(()))?;
        Ok(())
    }

    /// `GET /api/v1/quotas`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn quotas(&self) -> Result<Answer<Items<QuotaStatus>>, CommandError> {
        self.get("/api/v1/quotas")
    }

    /// `PUT` of a namespace's quota.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn set_quota(&self, namespace: &str, wanted: &Value) -> Result<(), CommandError> {
        self.send(
            http::Request::put(self.url(&quota_path(namespace)))
                .header("content-type", "application/json")
                .body(wanted.to_string()),
        )?;
        Ok(())
    }

    /// `DELETE` of a namespace's quota.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn delete_quota(&self, namespace: &str) -> Result<(), CommandError> {
        self.send(http::Request::delete(self.url(&quota_path(namespace))).body(()))?;
        Ok(())
    }

    /// `POST /api/v1/tokens`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn create_token(&self, wanted: &Value) -> Result<NewToken, CommandError> {
        let answer = self.send(
            http::Request::post(self.url("/api/v1/tokens"))
                .header("content-type", "application/json")
                .body(wanted.to_string()),
        )?;
        Ok(read(answer)?.read)
    }

    /// `GET /api/v1/tokens`.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn tokens(&self) -> Result<Answer<Items<TokenStatus>>, CommandError> {
        self.get("/api/v1/tokens")
    }

    /// `DELETE` of one token.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn revoke_token(&self, name: &str) -> Result<(), CommandError> {
        let path = format!("/api/v1/tokens/{}", encode(name));
        self.send(http::Request::delete(self.url(&path)).body(()))?;
        Ok(())
    }

    /// `GET /api/v1/backup`, as it comes.
    ///
    /// # Errors
    /// When the server is not there or refuses.
    pub fn backup(&self) -> Result<impl Read + use<>, CommandError> {
        let answer = self.send(http::Request::get(self.url("/api/v1/backup")).body(()))?;
        Ok(answer.into_body().into_with_config().limit(u64::MAX).reader())
    }

    /// Calls a function at `url`. Whatever is answered is an answer.
    ///
    /// # Errors
    /// When nothing is answered.
    pub fn call(
        &self,
        request: http::Request<Vec<u8>>,
    ) -> Result<http::Response<Body>, CommandError> {
        let address = request.uri().to_string();
        let answer = if request.body().is_empty() {
            self.agent(request.uri()).run(request.map(|_| ()))
        } else {
            self.agent(request.uri()).run(request)
        };
        answer.map_err(|error| {
            CommandError::failure(format!("calling {address} failed: {}", reason(&error)))
        })
    }

    /// The function that somebody may have meant who wrote `name`. Asks the server.
    pub fn meant(&self, name: &FunctionName) -> Option<String> {
        let functions = self.functions(None).ok()?.read.items;
        let whole = |one: &FunctionStatus| format!("{}.{}", one.name, one.namespace);
        let elsewhere = functions.iter().find(|one| one.name == name.name.as_str());
        if elsewhere.is_some() && functions.iter().any(|one| whole(one) == name.to_string()) {
            // It is there; what is missing is something of it.
            return None;
        }
        let here = functions.iter().filter(|one| one.namespace == name.namespace.as_str());
        let here = meant(name.name.as_str(), here.map(|one| one.name.as_str()));
        match (elsewhere, here) {
            (Some(elsewhere), _) => Some(whole(elsewhere)),
            (None, Some(here)) if name.namespace.as_str() == DEFAULT_NAMESPACE => {
                Some(here.to_owned())
            }
            (None, Some(here)) => Some(format!("{here}.{}", name.namespace)),
            (None, None) => {
                let all: Vec<_> = functions.iter().map(whole).collect();
                meant(&name.to_string(), all.iter().map(String::as_str)).map(str::to_owned)
            }
        }
    }

    /// Says of a function that is not there which one may have been meant.
    fn about<T>(
        &self,
        name: &FunctionName,
        result: Result<T, CommandError>,
    ) -> Result<T, CommandError> {
        result.map_err(|mut error| {
            if error.kind == Kind::Absent
                && let Some(meant) = self.meant(name)
            {
                error.hints.insert(0, did_you_mean(&meant));
            }
            error
        })
    }

    fn get<T: DeserializeOwned>(&self, path: &str) -> Result<Answer<T>, CommandError> {
        read(self.send(http::Request::get(self.url(path)).body(()))?)
    }

    fn agent(&self, address: &Uri) -> &Agent {
        match address.scheme_str() {
            Some("https") => self.secure.get_or_init(|| {
                config(self.patience).tls_config(self.trust.config()).build().new_agent()
            }),
            _ => &self.plain,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.server)
    }

    /// Sends a request; an answer that says that it failed is an error.
    fn send(
        &self,
        request: http::Result<http::Request<impl AsSendBody>>,
    ) -> Result<http::Response<Body>, CommandError> {
        let malformed = |error| CommandError::failure(format!("the request is malformed: {error}"));
        let mut request = request.map_err(malformed)?;
        if let Some(token) = &self.token {
            let mut value = HeaderValue::try_from(format!("Bearer {}", token.expose()))
                .map_err(|error| malformed(error.into()))?;
            value.set_sensitive(true);
            request.headers_mut().insert(AUTHORIZATION, value);
        }
        let answer = self.agent(request.uri()).run(request);
        let answer = answer.map_err(|error| self.unreachable(&error))?;
        if answer.status().is_success() { Ok(answer) } else { Err(self.refused(answer)) }
    }

    fn unreachable(&self, error: &ureq::Error) -> CommandError {
        let error = CommandError::failure(format!(
            "the server {} can't be reached: {}",
            self.server,
            reason(error)
        ));
        error.hint(format!(
            "start one with `dhow up`, or name another with --server or {}",
            settings::DHOW_SERVER
        ))
    }

    fn refused(&self, mut answer: http::Response<Body>) -> CommandError {
        let status = answer.status();
        let problem = answer
            .body_mut()
            .with_config()
            .limit(MOST_ANSWER)
            .read_to_vec()
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Problem>(&bytes).ok());
        match problem {
            Some(problem) => problem.into(),
            None => CommandError::failure(format!("{} answered {status}", self.server))
                .hint("is that the admin address of a dhow?"),
        }
    }
}

impl CallQuery {
    /// The filter, and where to go on.
    fn encode(&self) -> String {
        let mut query = "?".to_owned();
        let mut add = |name: &str, value: Option<&str>| {
            if let Some(value) = value {
                query.push_str(&format!("&{name}={}", encode(value)));
            }
        };
        add("namespace", self.namespace.as_ref().map(Label::as_str));
        add("function", self.function.as_ref().map(Label::as_str));
        add("state", self.state.map(CallState::as_str));
        add("after", self.after.as_deref());
        query
    }
}

/// `patience` is how long an answer may take as a whole.
fn config(patience: Option<Duration>) -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .allow_non_standard_methods(true)
        // The admin address is on this machine or in its network, not behind a proxy.
        .proxy(None)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT_TIMEOUT))
        .timeout_global(patience)
        .user_agent(concat!("dhow/", env!("CARGO_PKG_VERSION")))
}

impl LogQuery {
    fn encode(&self) -> String {
        let mut query = format!("?follow={}", self.follow);
        if let Some(tail) = self.tail {
            query.push_str(&format!("&tail={tail}"));
        }
        if let Some(since) = self.since {
            query.push_str(&format!("&since={since}"));
        }
        if let Some(call) = &self.call {
            query.push_str(&format!("&call={}", encode(call)));
        }
        query
    }
}

fn secret_path(namespace: &Label, name: &Label) -> String {
    format!("/api/v1/namespaces/{namespace}/secrets/{name}")
}

fn quota_path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{}/quota", encode(namespace))
}

/// The question, as a hint.
pub(super) fn did_you_mean(meant: &str) -> String {
    format!("did you mean `{meant}`?")
}

fn path_of(name: &FunctionName) -> String {
    format!("/api/v1/namespaces/{}/functions/{}", name.namespace, name.name)
}

/// The whole answer as JSON.
fn read<T: DeserializeOwned>(mut answer: http::Response<Body>) -> Result<Answer<T>, CommandError> {
    let bytes = answer
        .body_mut()
        .with_config()
        .limit(MOST_ANSWER)
        .read_to_vec()
        .map_err(|error| unreadable(reason(&error)))?;
    let raw = serde_json::from_slice(&bytes).map_err(|error| unreadable(error.to_string()))?;
    typed(raw)
}

/// The answer's JSON values, one after the other as they come.
fn lines<T: DeserializeOwned>(
    answer: http::Response<Body>,
) -> impl Iterator<Item = Result<Answer<T>, CommandError>> + use<T> {
    let reader = BufReader::new(answer.into_body().into_with_config().limit(u64::MAX).reader());
    let values = serde_json::Deserializer::from_reader(reader).into_iter();
    values.map(|value| value.map_err(|error| unreadable(error.to_string())).and_then(typed))
}

fn typed<T: DeserializeOwned>(raw: Value) -> Result<Answer<T>, CommandError> {
    let read = T::deserialize(&raw).map_err(|error| unreadable(error.to_string()))?;
    Ok(Answer { raw, read })
}

fn unreadable(why: String) -> CommandError {
    CommandError::failure(format!("the server's answer can't be read: {why}"))
        .hint("`dhow version` shows whether the server is of the same version")
}

/// An I/O error without the library's name for it.
fn reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// RFC 3986's percent-encoding of all that is not unreserved.
fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_in_a_query_is_percent_encoded() {
        assert_eq!(encode("hello-1.wasm"), "hello-1.wasm");
        assert_eq!(encode("a b&c=ä/?"), "a%20b%26c%3D%C3%A4%2F%3F");
    }

    #[test]
    fn a_query_of_calls_says_only_what_was_asked() {
        assert_eq!(CallQuery::default().encode(), "?");
        let query = CallQuery {
            namespace: Some("shop".parse().unwrap()),
            function: Some("f".parse().unwrap()),
            state: Some(CallState::Dead),
            after: Some("00ff".to_owned()),
            limit: 7,
        };
        assert_eq!(query.encode(), "?&namespace=shop&function=f&state=dead&after=00ff");
    }

    #[test]
    fn a_log_query_says_only_what_was_asked() {
        assert_eq!(LogQuery::default().encode(), "?follow=false");
        let all = LogQuery {
            follow: true,
            tail: Some(5),
            since: Some(600),
            call: Some("a b".to_owned()),
        };
        assert_eq!(all.encode(), "?follow=true&tail=5&since=600&call=a%20b");
    }
}
