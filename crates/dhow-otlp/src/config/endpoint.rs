//! Where one signal goes, and how.

use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::reader::Reader;

/// The option that names the collector.
const OPTION: &str = "--otlp";
/// How an address looks.
const EXAMPLE: &str = "http://127.0.0.1:4318";
/// The only protocol that is spoken.
const PROTOCOL: &str = "http/protobuf";

/// Where one signal goes.
#[derive(Debug, Clone)]
pub struct Endpoint {
    pub(crate) url: Url,
    /// Each is marked as sensitive: they are credentials, mostly.
    pub(crate) headers: HeaderMap,
    pub(crate) timeout: Duration,
    pub(crate) gzip: bool,
    /// A file of certificates that are trusted besides the system's.
    pub(crate) authorities: Option<PathBuf>,
    pub(crate) identity: Option<Identity>,
}

/// Files that show who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Reads where `signal` goes. `None`: nowhere.
pub(super) fn read(
    reader: &Reader<'_>,
    signal: &str,
    path: &str,
    option: Option<&str>,
) -> Option<Endpoint> {
    let exporter = format!("OTEL_{signal}_EXPORTER");
    match reader.said(&exporter).as_deref() {
        Some("none") => return None,
        None | Some("otlp") => {}
        Some(_) => reader.refuse(&exporter, "is neither `otlp` nor `none`"),
    }
    let names = |setting: &str| {
        let all = format!("OTEL_EXPORTER_OTLP_{setting}");
        vec![format!("OTEL_EXPORTER_OTLP_{signal}_{setting}"), all]
    };
    let own = names("ENDPOINT").swap_remove(0);
    let all = names("ENDPOINT").swap_remove(1);
    let url = match (reader.said(&own), option, reader.said(&all)) {
        (Some(url), None, _) => parse(reader, &own, &url),
        (_, Some(base), _) => below(parse(reader, OPTION, base), path),
        (None, None, Some(base)) => below(parse(reader, &all, &base), path),
        (None, None, None) => return None,
    };
    let first = |setting: &str| reader.first(&names(setting));
    if let Some((name, _)) = first("PROTOCOL").filter(|(_, value)| value != PROTOCOL) {
        reader.refuse(&name, "this version of dhow does not speak; it speaks http/protobuf");
    }
    let gzip = first("COMPRESSION").is_some_and(|(name, value)| match value.as_str() {
        "gzip" => true,
        "none" => false,
        _ => {
            reader.refuse(&name, "is neither `gzip` nor `none`");
            false
        }
    });
    let timeout = first("TIMEOUT").map_or_else(|| "OTEL_EXPORTER_OTLP_TIMEOUT".into(), |it| it.0);
    let file = |setting: &str| first(setting).map(|(_, path)| PathBuf::from(path));
    let identity = match (file("CLIENT_CERTIFICATE"), file("CLIENT_KEY")) {
        (Some(certificate), Some(key)) => Some(Identity { certificate, key }),
        (None, None) => None,
        _ => {
            let [certificate, key] =
                ["CLIENT_CERTIFICATE", "CLIENT_KEY"].map(|it| names(it)[1].clone());
            reader.problem(format!("{certificate} and {key} go together, and one is missing"));
            None
        }
    };
    let headers = first("HEADERS").map(|(name, _)| headers(reader, &name)).unwrap_or_default();
    let timeout = reader.millis(&timeout, Duration::from_secs(10));
    let authorities = file("CERTIFICATE");
    Some(Endpoint { url, headers, timeout, gzip, authorities, identity })
}

fn parse(reader: &Reader<'_>, name: &str, text: &str) -> Url {
    // It may have a password in it, so it is not shown.
    let problem = |why: &str| {
        reader.problem(format!("{name} {why}; write an address such as {EXAMPLE}"));
        // Nothing is sent there: it was noted. The rest is read to find what else is wrong.
        Url::parse(EXAMPLE).expect("it is one")
    };
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            problem("does not begin with http:// or https://")
        }
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            problem("has credentials; say them in OTEL_EXPORTER_OTLP_HEADERS")
        }
        Ok(url) => url,
        Err(error) => problem(&format!("is no address: {error}")),
    }
}

fn below(mut base: Url, path: &str) -> Url {
    let joined = format!("{}/{path}", base.path().trim_end_matches('/'));
    base.set_path(&joined);
    base
}

fn headers(reader: &Reader<'_>, name: &str) -> HeaderMap {
    const OURS: [HeaderName; 5] =
        [CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TRANSFER_ENCODING];
    let mut headers = HeaderMap::new();
    for (key, value) in reader.pairs(name) {
        match (HeaderName::try_from(&key), HeaderValue::try_from(value)) {
            (Ok(header), Ok(mut value)) if !OURS.contains(&header) => {
                value.set_sensitive(true);
                headers.insert(header, value);
            }
            _ => {
                reader.problem(format!("{name} has `{}`, which can't be sent", key.escape_debug()))
            }
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> (Option<Endpoint>, Vec<String>) {
        let environment = |name: &str| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let reader = Reader::new(&environment);
        let endpoint = read(&reader, "TRACES", "v1/traces", Some("https://c"));
        (endpoint, reader.finish(()).err().map(|error| error.problems).unwrap_or_default())
    }

    #[test]
    fn a_signals_own_setting_goes_first() {
        let (endpoint, problems) = with(&[
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "7"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "8"),
            ("OTEL_EXPORTER_OTLP_HEADERS", "a=1"),
            ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip"),
            ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "none"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", "ca.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "cert.pem"),
            ("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem"),
        ]);
        let endpoint = endpoint.unwrap();
        assert_eq!(problems, [""; 0]);
        assert_eq!(endpoint.timeout, Duration::from_millis(8));
        assert!(!endpoint.gzip);
        assert_eq!(endpoint.headers["a"], "1");
        assert!(endpoint.headers["a"].is_sensitive());
        assert_eq!(endpoint.authorities, Some("ca.pem".into()));
        let identity = Identity { certificate: "cert.pem".into(), key: "key.pem".into() };
        assert_eq!(endpoint.identity, Some(identity));
    }

    #[test]
    fn a_header_of_the_protocols_own_is_refused() {
        let (_, problems) = with(&[("OTEL_EXPORTER_OTLP_HEADERS", "host=x,a b=1,ok=1")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        let (_, problems) = with(&[("OTEL_EXPORTER_OTLP_CLIENT_KEY", "key.pem")]);
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}
