//! Keeps strangers' web pages out. A browser on this machine reaches the admin port for any page
//! that it shows, but it says for whom: in `Origin` and `Sec-Fetch-Site`, and, where the page's
//! own name was made to point here (DNS rebinding), in `Host`.
//!
//! Where credentials are asked for, `Host` may be any name: people give their servers names, and a
//! page behind a name that was made to point here has no credentials, which browsers keep by name.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{AsHeaderName, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, StatusCode};

use super::error::ApiError;

/// Under which addresses a listener is reached, and how.
#[derive(Debug, Clone, Copy)]
pub struct Own {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// Whether whoever gives no credentials is refused.
    pub asks: bool,
}

impl Own {
    fn scheme(self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }
}

/// Refuses what did not come from a program, or from a page of our own.
pub(crate) async fn guard(
    State(own): State<Own>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    check(own, request.uri().authority(), request.headers())?;
    Ok(next.run(request).await)
}

/// `target` is the authority of a request whose target is a whole URI, as proxies get it.
pub(crate) fn check(
    own: Own,
    target: Option<&Authority>,
    headers: &HeaderMap,
) -> Result<(), ApiError> {
    let host = only(headers, HOST)?
        .ok_or_else(|| foreign("the request has no header Host".to_owned(), own))?;
    let default_port = if own.tls { 443 } else { 80 };
    let parse = |text| Place::parse(text, default_port);
    let place = parse(host).filter(|place| own.asks || place.is_ours(own.listen));
    let Some(place) = place else {
        return Err(foreign(format!("the host `{}` is not this server", shown(host)), own));
    };
    if let Some(target) = target.filter(|target| parse(target.as_str()) != Some(place.clone())) {
        let message = format!("the target `{}` is not the header Host", shown(target.as_str()));
        return Err(foreign(message, own));
    }
    if let Some(origin) = only(headers, ORIGIN)? {
        let rest = origin.strip_prefix(own.scheme()).and_then(|rest| rest.strip_prefix("://"));
        let same = rest.and_then(parse) == Some(place);
        if !same {
            let message = format!("pages of `{}` may not use this server", shown(origin));
            return Err(foreign(message, own));
        }
    }
    match only(headers, "sec-fetch-site")? {
        None | Some("same-origin" | "none") => Ok(()),
        Some(_) => Err(foreign("the request comes from another site's page".to_owned(), own)),
    }
}

/// The one value of a header. Two would be read one way here and another way elsewhere.
fn only(headers: &HeaderMap, name: impl AsHeaderName) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(name).iter();
    let refused = |_| ApiError::invalid("Host, Origin or Sec-Fetch-Site is not text", vec![]);
    let first = values.next().map(|value| value.to_str().map_err(refused)).transpose()?;
    match values.next() {
        None => Ok(first),
        Some(_) => {
            Err(ApiError::invalid("Host, Origin or Sec-Fetch-Site stands there twice", vec![]))
        }
    }
}

fn foreign(message: String, own: Own) -> ApiError {
    let (scheme, listen) = (own.scheme(), own.listen);
    let hint = format!("use `dhow`, or a program, or a page of {scheme}://{listen} itself");
    ApiError::new(StatusCode::FORBIDDEN, "foreign-origin", message, hint)
}

/// A host and a port, in one spelling.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    host: Host,
    port: u16,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Address(IpAddr),
    Name(String),
}

impl Place {
    fn parse(text: &str, default_port: u16) -> Option<Self> {
        let authority: Authority = text.parse().ok()?;
        let host = authority.host();
        // `user@host` is no Host; `host:` has no port that could be compared.
        let rest = text.strip_prefix(host)?;
        let port = match rest.strip_prefix(':') {
            None if rest.is_empty() => default_port,
            None => return None,
            Some(port) => port.parse().ok()?,
        };
        let address =
            host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let host = match address.parse() {
            Ok(address) => Host::Address(address),
            Err(_) => Host::Name(host.to_ascii_lowercase()),
        };
        Some(Self { host, port })
    }

    /// Whether it names the listener. No name but `localhost` does: a name can be made to point
    /// anywhere by whoever owns it, an address can't.
    fn is_ours(&self, listen: SocketAddr) -> bool {
        let host = match &self.host {
            Host::Name(name) => name == "localhost",
            Host::Address(address) => {
                address.is_loopback() || *address == listen.ip() || listen.ip().is_unspecified()
            }
        };
        host && self.port == listen.port()
    }
}

/// A stranger's text, short and on one line.
fn shown(text: &str) -> String {
    text.chars().take(100).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(listen: &str, headers: &[(&'static str, &str)]) -> Result<(), &'static str> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        check(own(listen), None, &map).map_err(|error| error.reason)
    }

    fn own(listen: &str) -> Own {
        Own { listen: listen.parse().unwrap(), tls: false, asks: false }
    }

    #[test]
    fn only_loopback_localhost_and_the_listen_address_are_hosts() {
        for (listen, host, ours) in [
            ("127.0.0.1:8081", "127.0.0.1:8081", true),
            ("127.0.0.1:8081", "127.9.9.9:8081", true),
            ("127.0.0.1:8081", "LOCALHOST:8081", true),
            ("127.0.0.1:8081", "[::1]:8081", true),
            ("127.0.0.1:80", "localhost", true),
            ("192.0.2.1:8081", "192.0.2.1:8081", true),
            ("0.0.0.0:8081", "192.0.2.1:8081", true),
            ("127.0.0.1:8081", "localhost", false),
            ("127.0.0.1:8081", "localhost:", false),
            ("127.0.0.1:8081", "localhost:8080", false),
            ("127.0.0.1:8081", "evil.example:8081", false),
            ("127.0.0.1:8081", "localhost.evil.example:8081", false),
            ("127.0.0.1:8081", "localhost@evil.example:8081", false),
            ("127.0.0.1:8081", "evil.example@localhost:8081", false),
            ("127.0.0.1:8081", "192.0.2.1:8081", false),
            ("0.0.0.0:8081", "evil.example:8081", false),
            ("127.0.0.1:8081", "", false),
        ] {
            assert_eq!(verdict(listen, &[("host", host)]).is_ok(), ours, "{host} at {listen}");
        }
        assert_eq!(verdict("127.0.0.1:8081", &[]), Err("foreign-origin"));
    }

    #[test]
    fn an_origin_is_the_hosts_own() {
        for (origin, ours) in [
            ("http://localhost:8081", true),
            ("http://LOCALHOST:8081", true),
            ("https://localhost:8081", false),
            ("http://localhost:8080", false),
            ("http://localhost", false),
            ("http://127.0.0.1:8081", false),
            ("http://evil.example", false),
            ("http://evil.example:8081", false),
            ("http://localhost:8081/", false),
            ("null", false),
        ] {
            let headers = [("host", "localhost:8081"), ("origin", origin)];
            assert_eq!(verdict("127.0.0.1:8081", &headers).is_ok(), ours, "{origin}");
        }
    }

    #[test]
    fn a_fetch_for_another_site_is_refused() {
        for (site, ours) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let headers = [("host", "localhost:8081"), ("sec-fetch-site", site)];
            assert_eq!(verdict("127.0.0.1:8081", &headers).is_ok(), ours, "{site}");
        }
    }

    #[test]
    fn a_header_that_stands_twice_is_refused() {
        let hosts = [("host", "localhost:8081"), ("host", "evil.example")];
        assert_eq!(verdict("127.0.0.1:8081", &hosts), Err("invalid"));
    }

    #[test]
    fn a_target_that_names_another_host_is_refused() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, "localhost:8081".parse().unwrap());
        let with = |target: &'static str| {
            check(own("127.0.0.1:8081"), Some(&Authority::from_static(target)), &headers).is_ok()
        };
        assert!(with("localhost:8081"));
        assert!(!with("evil.example:8081"));
    }

    #[test]
    fn where_credentials_are_asked_for_any_name_is_a_host_and_pages_are_still_strangers() {
        let own = Own { listen: "0.0.0.0:8081".parse().unwrap(), tls: true, asks: true };
        let with = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            headers.extend(origin.map(|origin| (ORIGIN, origin.parse().unwrap())));
            check(own, None, &headers).is_ok()
        };
        assert!(with("dhow.example:8081", None));
        assert!(with("dhow.example:8081", Some("https://dhow.example:8081")));
        assert!(with("dhow.example", Some("https://dhow.example:443")));
        assert!(!with("dhow.example:8081", Some("http://dhow.example:8081")));
        assert!(!with("dhow.example:8081", Some("https://evil.example:8081")));
        assert!(!with("dhow.example:8081", Some("null")));
    }
}
