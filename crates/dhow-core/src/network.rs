//! What a guest may connect to, as users write it: `[METHOD[,METHOD] ]SCHEME://HOST[:PORT]`.
//!
//! - SCHEME is `http`, `https`, `tcp`, `udp`, or `*` for all of them.
//! - HOST is a name, `*.NAME` for every name below it, `*` for every name and every public address,
//!   an address, or a network in CIDR notation; IPv6 stands in brackets.
//! - PORT is a number, `FIRST-LAST`, or `*`; without one it is the scheme's own, 80 or 443.
//! - Methods hold for HTTP alone; without any, all are allowed.
//!
//! What a rule lets through is decided in [`crate::plan::outbound`].

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use http::Method;

/// Bytes of a rule.
const MOST_RULE: usize = 512;
/// Bytes of a name in DNS.
const MOST_NAME: usize = 253;

/// One thing that may be connected to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowRule {
    /// None is all of them.
    pub methods: Vec<Method>,
    /// None is all of them.
    pub scheme: Option<Scheme>,
    /// Where.
    pub host: Host,
    /// At which ports of it.
    pub ports: Ports,
}

/// How something is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// HTTP.
    Http,
    /// HTTP over TLS.
    Https,
    /// A stream.
    Tcp,
    /// Datagrams.
    Udp,
}

/// Which hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// Every name, and every public address.
    Any,
    /// Every name that ends with a dot and this.
    Below(String),
    /// This name, in small letters.
    Name(String),
    /// The addresses whose first so many bits are these.
    Network(IpAddr, u8),
}

/// Ports from the first to the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ports {
    /// The lowest.
    pub first: u16,
    /// The highest, not below `first`.
    pub last: u16,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadRule {
    /// No scheme stands before it.
    #[error(
        "has no scheme; write https://HOST, http://HOST:PORT, tcp://HOST:PORT or *://HOST:PORT"
    )]
    NoScheme,
    /// A scheme that is none of ours.
    #[error("the scheme is not one of http, https, tcp, udp and *")]
    Scheme,
    /// A host that is none.
    #[error(
        "the host is not a name, *.NAME, *, an address, or a network such as 10.0.0.0/8 or [fd00::/8]"
    )]
    Host,
    /// No port, and the scheme has none of its own.
    #[error("has no port, and its scheme has none of its own; write :PORT, :FIRST-LAST or :*")]
    NoPort,
    /// A port that is none.
    #[error("the port is not a number from 1 to 65535, FIRST-LAST or *")]
    Port,
    /// Something stands after host and port.
    #[error("has a path; what is allowed are whole hosts")]
    Path,
    /// A name and a password.
    #[error("holds credentials; a rule says only where to")]
    Credentials,
    /// Methods that are none, or not of HTTP.
    #[error(
        "what stands before the scheme is not a list of methods, such as GET,HEAD, for http or https"
    )]
    Methods,
    /// Too long.
    #[error("has more than {MOST_RULE} bytes")]
    Long,
}

impl Scheme {
    const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Tcp, Self::Udp];

    /// As it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    fn port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Tcp | Self::Udp => None,
        }
    }

    fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Https)
    }
}

impl Ports {
    /// Every port.
    pub const ALL: Self = Self { first: 1, last: u16::MAX };

    /// One port.
    pub fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }

    /// Whether it is one of these.
    pub fn holds(self, port: u16) -> bool {
        (self.first..=self.last).contains(&port)
    }

    /// Whether it is one port alone.
    pub fn is_one(self) -> bool {
        self.first == self.last
    }
}

impl FromStr for AllowRule {
    type Err = BadRule;

    fn from_str(text: &str) -> Result<Self, BadRule> {
        if text.len() > MOST_RULE {
            return Err(BadRule::Long);
        }
        let (methods, url) = match text.trim().split_once(' ') {
            Some((methods, url)) => (methods, url.trim_start()),
            None => ("", text.trim()),
        };
        let (scheme, place) = url.split_once("://").ok_or(BadRule::NoScheme)?;
        let scheme = match scheme {
            "*" => None,
            _ => Some(scheme_of(scheme).ok_or(BadRule::Scheme)?),
        };
        let methods = methods_of(methods, scheme)?;
        if place.contains('@') {
            return Err(BadRule::Credentials);
        }
        let (host, port) = split(place.strip_suffix('/').unwrap_or(place))?;
        let ports = match (port, scheme.and_then(Scheme::port)) {
            (Some(port), _) => ports_of(port)?,
            (None, Some(port)) => Ports::one(port),
            (None, None) => return Err(BadRule::NoPort),
        };
        Ok(Self { methods, scheme, host: host_of(host)?, ports })
    }
}

fn scheme_of(text: &str) -> Option<Scheme> {
    Scheme::ALL.into_iter().find(|scheme| scheme.as_str().eq_ignore_ascii_case(text))
}

fn methods_of(text: &str, scheme: Option<Scheme>) -> Result<Vec<Method>, BadRule> {
    if text.is_empty() {
        return Ok(vec![]);
    }
    if scheme.is_some_and(|scheme| !scheme.is_http()) {
        return Err(BadRule::Methods);
    }
    let mut methods = Vec::new();
    for name in text.split(',') {
        let is_method = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
        let method = Method::from_bytes(name.as_bytes()).ok().filter(|_| is_method);
        let method = method.ok_or(BadRule::Methods)?;
        if !methods.contains(&method) {
            methods.push(method);
        }
    }
    Ok(methods)
}

/// The host, without brackets, and the port.
fn split(place: &str) -> Result<(&str, Option<&str>), BadRule> {
    if let Some(rest) = place.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or(BadRule::Host)?;
        return match rest {
            "" => Ok((host, None)),
            rest => rest.strip_prefix(':').map(|port| (host, Some(port))).ok_or(BadRule::Path),
        };
    }
    match place.matches(':').count() {
        0 => Ok((place, None)),
        1 => Ok(place
            .split_once(':')
            .map(|(host, port)| (host, Some(port)))
            .unwrap_or((place, None))),
        _ => Err(BadRule::Host),
    }
}

fn ports_of(text: &str) -> Result<Ports, BadRule> {
    if text.contains(['/', '?', '#']) {
        return Err(BadRule::Path);
    }
    let number = |text: &str| match text.parse() {
        Ok(port @ 1..) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(BadRule::Port),
    };
    let ports = match text.split_once('-') {
        _ if text == "*" => Ports::ALL,
        Some((first, last)) => Ports { first: number(first)?, last: number(last)? },
        None => Ports::one(number(text)?),
    };
    if ports.first > ports.last { Err(BadRule::Port) } else { Ok(ports) }
}

fn host_of(text: &str) -> Result<Host, BadRule> {
    if text == "*" {
        return Ok(Host::Any);
    }
    if let Some(below) = text.strip_prefix("*.") {
        return name_of(below).map(Host::Below);
    }
    let (address, prefix) = match text.split_once('/') {
        Some((address, prefix)) => (address, Some(prefix)),
        None => (text, None),
    };
    match (address.parse::<IpAddr>(), prefix) {
        (Ok(address), prefix) => {
            let bits = if address.is_ipv4() { 32 } else { 128 };
            let prefix = prefix.map_or(Ok(bits), |text| text.parse().map_err(|_| BadRule::Host))?;
            if prefix > bits { Err(BadRule::Host) } else { Ok(Host::Network(address, prefix)) }
        }
        (Err(_), Some(_)) => Err(BadRule::Path),
        (Err(_), None) => name_of(text).map(Host::Name),
    }
}

/// A name in small letters, without a dot at its end. One that ends with a number would be taken
/// for an address by some and for a name by others, and is neither here.
fn name_of(text: &str) -> Result<String, BadRule> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let ends_with_number =
        text.rsplit('.').next().is_some_and(|last| last.bytes().all(|byte| byte.is_ascii_digit()));
    if text.len() > MOST_NAME || ends_with_number || !text.split('.').all(is_label) {
        return Err(BadRule::Host);
    }
    Ok(text.to_ascii_lowercase())
}

impl fmt::Display for AllowRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.methods.iter().enumerate() {
            let before = if index == 0 { "" } else { "," };
            write!(f, "{before}{method}")?;
        }
        if !self.methods.is_empty() {
            f.write_str(" ")?;
        }
        write!(f, "{}://{}", self.scheme.map_or("*", Scheme::as_str), self.host)?;
        if self.scheme.and_then(Scheme::port).map(Ports::one) == Some(self.ports) {
            return Ok(());
        }
        match self.ports {
            Ports::ALL => f.write_str(":*"),
            Ports { first, last } if first == last => write!(f, ":{first}"),
            Ports { first, last } => write!(f, ":{first}-{last}"),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Below(name) => write!(f, "*.{name}"),
            Self::Name(name) => f.write_str(name),
            Self::Network(IpAddr::V4(address), 32) => write!(f, "{address}"),
            Self::Network(IpAddr::V6(address), 128) => write!(f, "[{address}]"),
            Self::Network(IpAddr::V4(address), prefix) => write!(f, "{address}/{prefix}"),
            Self::Network(IpAddr::V6(address), prefix) => write!(f, "[{address}/{prefix}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> AllowRule {
        text.parse().unwrap_or_else(|error| panic!("{text} {error}"))
    }

    #[test]
    fn a_rule_is_written_as_it_is_read() {
        for text in [
            "https://api.example.com",
            "http://*.example.com:8080",
            "GET,HEAD https://*",
            "*://*:*",
            "tcp://db.example.com:5432",
            "udp://10.0.0.0/8:53",
            "http://[fd00::/8]:8000-8010",
            "http://127.0.0.1:9000",
            "https://[2001:db8::1]",
        ] {
            assert_eq!(rule(text).to_string(), text);
        }
        assert_eq!(rule("HTTPS://API.Example.com.:443/").to_string(), "https://api.example.com");
        assert_eq!(rule("GET,GET http://a").methods, [Method::GET]);
    }

    #[test]
    fn what_is_no_rule_says_why() {
        for (text, why) in [
            ("", BadRule::NoScheme),
            ("api.example.com", BadRule::NoScheme),
            ("ftp://a", BadRule::Scheme),
            ("://a", BadRule::Scheme),
            ("tcp://a", BadRule::NoPort),
            ("*://a", BadRule::NoPort),
            ("http://", BadRule::Host),
            ("http://a..b", BadRule::Host),
            ("http://-a", BadRule::Host),
            ("http://a.*", BadRule::Host),
            ("http://127.1", BadRule::Host),
            ("http://2130706433", BadRule::Host),
            ("http://fd00::1", BadRule::Host),
            ("http://[fd00::1", BadRule::Host),
            ("http://10.0.0.0/33", BadRule::Host),
            ("http://a:0", BadRule::Port),
            ("http://a:+1", BadRule::Port),
            ("http://a:9-8", BadRule::Port),
            ("http://a:65536", BadRule::Port),
            ("http://a/b", BadRule::Path),
            ("http://a:80/b", BadRule::Path),
            ("http://u:p@a", BadRule::Credentials),
            ("get http://a", BadRule::Methods),
            ("GET, http://a", BadRule::Methods),
            ("GET tcp://a:1", BadRule::Methods),
        ] {
            assert_eq!(text.parse::<AllowRule>(), Err(why), "{text}");
        }
        assert_eq!(format!("http://{}", "a".repeat(600)).parse::<AllowRule>(), Err(BadRule::Long));
    }
}
