//! Whether a guest may ask somebody something: its function's rules, beside what is closed to
//! everybody ([`super::egress`]).
//!
//! A name is asked about as a name, before anybody resolves it: [`Outbound::may_ask`]. What it
//! resolves to is asked about again, address by address, and the address that was asked about is
//! the one to connect to: [`Outbound::may_connect`]. A rule about names opens public addresses
//! alone; this machine, its link, private networks and clouds' metadata are open only to rules
//! that name the address, or a network around it. `localhost` is the one name that stands for
//! addresses. dhow's own ports are open only to a rule that names the very port as well.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::Method;

use super::egress::{Closed, closed, is_one_of_own, plain};
use crate::name::FunctionName;
use crate::network::{AllowRule, Host, Scheme};

/// What ends the names of functions, as guests call them: `NAME.NAMESPACE.dhow.internal`.
pub const INTERNAL: &str = "dhow.internal";

/// What one function may ask, and of whom.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Its rules.
    pub allow: Arc<[AllowRule]>,
    /// dhow's own listeners.
    pub own: Arc<[SocketAddr]>,
}

/// Somebody to be asked.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// How.
    pub scheme: Scheme,
    /// Who: a name, or an address without brackets.
    pub host: &'a str,
    /// At which port.
    pub port: u16,
    /// With which method, where it is HTTP.
    pub method: Option<&'a Method>,
}

/// What a host is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An address; nobody need resolve it.
    Address(IpAddr),
    /// This machine, and no question for DNS.
    Localhost,
    /// Another function.
    Function(FunctionName),
    /// A name for DNS, in small letters.
    Name(String),
}

/// Why somebody may not be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No rule names them.
    #[error("no rule of the function's network allows it")]
    NoRule,
    /// They are closed to every rule that names them.
    #[error("{0}, which no rule of the function's network names as an address")]
    Closed(Closed),
}

impl Outbound {
    /// Whether `asked` may be asked, as far as their name tells, and what that name is.
    ///
    /// # Errors
    /// Why not.
    pub fn may_ask(&self, asked: &Asked<'_>) -> Result<Place, Denied> {
        let place = Place::of(asked.host);
        let fits = |rule: &AllowRule| {
            speaks(rule, asked.scheme, asked.port, asked.method) && names(&rule.host, &place)
        };
        if !self.allow.iter().any(fits) {
            return Err(Denied::NoRule);
        }
        if let Place::Address(ip) = place {
            let address = SocketAddr::new(ip, asked.port);
            // Whether it is this machine's is for whoever connects to find out.
            self.may_connect(asked.scheme, asked.method, address, false)?;
        }
        Ok(place)
    }

    /// Whether `address` may be connected to, once its name may be asked. `is_ours` says that it
    /// is an address of this machine, which only a look at its interfaces tells.
    ///
    /// # Errors
    /// Why not.
    pub fn may_connect(
        &self,
        scheme: Scheme,
        method: Option<&Method>,
        address: SocketAddr,
        is_ours: bool,
    ) -> Result<(), Denied> {
        let (ip, port) = (plain(address.ip()), address.port());
        let mut named = self
            .allow
            .iter()
            .filter(|rule| speaks(rule, scheme, port, method) && names_address(&rule.host, ip))
            .peekable();
        let why = closed(ip);
        if why.is_some() && named.peek().is_none() {
            return Err(Denied::Closed(why.unwrap_or(Closed::Special)));
        }
        if is_one_of_own(&self.own, ip, port, is_ours) && !named.any(|rule| rule.ports.is_one()) {
            return Err(Denied::Closed(Closed::Own));
        }
        Ok(())
    }
}

impl Place {
    /// What `host`, without brackets, stands for.
    pub fn of(host: &str) -> Self {
        if let Ok(ip) = host.parse() {
            return Self::Address(ip);
        }
        let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if name == "localhost" {
            return Self::Localhost;
        }
        let function = name
            .strip_suffix(INTERNAL)
            .and_then(|rest| rest.strip_suffix('.'))
            .filter(|rest| rest.contains('.'))
            .and_then(|rest| FunctionName::parse(rest).ok());
        function.map_or(Self::Name(name), Self::Function)
    }
}

/// Whether `rule` is about this scheme, port and method.
fn speaks(rule: &AllowRule, scheme: Scheme, port: u16, method: Option<&Method>) -> bool {
    rule.scheme.is_none_or(|only| only == scheme)
        && rule.ports.holds(port)
        && (rule.methods.is_empty() || method.is_some_and(|method| rule.methods.contains(method)))
}

fn names(host: &Host, place: &Place) -> bool {
    match place {
        Place::Address(ip) => {
            let ip = plain(*ip);
            // A rule for everything means everything public; the rest is named or closed.
            names_address(host, ip) || matches!(host, Host::Any)
        }
        Place::Localhost => matches!(host, Host::Name(name) if name == "localhost"),
        Place::Function(function) => {
            // What is open to the world's names is not open to functions.
            let is_internal = |name: &str| name == INTERNAL || name.ends_with(".dhow.internal");
            let name = format!("{function}.{INTERNAL}");
            match host {
                Host::Name(only) => *only == name,
                Host::Below(below) => is_internal(below) && is_below(&name, below),
                Host::Any | Host::Network(..) => false,
            }
        }
        Place::Name(name) => match host {
            Host::Any => true,
            Host::Below(below) => is_below(name, below),
            Host::Name(only) => only == name,
            Host::Network(..) => false,
        },
    }
}

fn is_below(name: &str, below: &str) -> bool {
    name.strip_suffix(below).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// Whether `host` names `ip` as an address.
fn names_address(host: &Host, ip: IpAddr) -> bool {
    match host {
        Host::Network(network, prefix) => super::egress::is_in(*network, *prefix, ip),
        Host::Name(name) => name == "localhost" && ip.is_loopback(),
        Host::Any | Host::Below(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(allow: &[&str], own: &[&str]) -> Outbound {
        Outbound {
            allow: allow.iter().map(|text| text.parse().unwrap()).collect(),
            own: own.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    fn ask(outbound: &Outbound, asked: &str) -> Result<Place, Denied> {
        let (method, url) = asked.split_once(' ').unwrap();
        let (scheme, place) = url.split_once("://").unwrap();
        let (host, port) = place.rsplit_once(':').unwrap();
        let scheme = [Scheme::Http, Scheme::Https, Scheme::Tcp, Scheme::Udp]
            .into_iter()
            .find(|known| known.as_str() == scheme)
            .unwrap();
        let method = (method != "-").then(|| method.parse().unwrap());
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let port = port.parse().unwrap();
        outbound.may_ask(&Asked { scheme, host, port, method: method.as_ref() })
    }

    fn connect(outbound: &Outbound, address: &str) -> Result<(), Denied> {
        outbound.may_connect(Scheme::Http, Some(&Method::GET), address.parse().unwrap(), false)
    }

    #[test]
    fn nothing_is_allowed_until_a_rule_says_so() {
        let nothing = outbound(&[], &[]);
        for asked in ["GET https://a.example:443", "- tcp://1.1.1.1:53", "GET http://localhost:80"]
        {
            assert_eq!(ask(&nothing, asked), Err(Denied::NoRule), "{asked}");
        }
    }

    #[test]
    fn scheme_host_port_and_method_all_have_to_fit() {
        let rules = outbound(&["GET,HEAD https://api.example.com", "tcp://*.db.example:5432"], &[]);
        for (asked, is_allowed) in [
            ("GET https://api.example.com:443", true),
            ("GET https://API.EXAMPLE.COM.:443", true),
            ("POST https://api.example.com:443", false),
            ("GET http://api.example.com:443", false),
            ("GET https://api.example.com:8443", false),
            ("GET https://x.api.example.com:443", false),
            ("GET https://evilapi.example.com:443", false),
            ("- tcp://a.db.example:5432", true),
            ("- tcp://a.b.db.example:5432", true),
            ("- tcp://db.example:5432", false),
            ("- tcp://xdb.example:5432", false),
            ("- udp://a.db.example:5432", false),
        ] {
            assert_eq!(ask(&rules, asked).is_ok(), is_allowed, "{asked}");
        }
    }

    #[test]
    fn a_rule_for_everything_is_for_everything_public() {
        let any = outbound(&["*://*:*"], &[]);
        for open in
            ["GET http://a.example:80", "GET http://1.1.1.1:80", "- udp://[2606:4700::1]:53"]
        {
            assert!(ask(&any, open).is_ok(), "{open}");
        }
        for (asked, why) in [
            ("GET http://127.0.0.1:80", Denied::Closed(Closed::Loopback)),
            ("GET http://[::1]:80", Denied::Closed(Closed::Loopback)),
            ("GET http://[::ffff:127.0.0.1]:80", Denied::Closed(Closed::Loopback)),
            ("GET http://169.254.169.254:80", Denied::Closed(Closed::LinkLocal)),
            ("GET http://10.0.0.1:80", Denied::Closed(Closed::Private)),
            ("GET http://localhost:80", Denied::NoRule),
            ("GET http://hello.default.dhow.internal:80", Denied::NoRule),
        ] {
            assert_eq!(ask(&any, asked), Err(why), "{asked}");
        }
    }

    #[test]
    fn a_name_opens_no_address_that_is_closed_and_a_network_no_name() {
        let named = outbound(&["http://rebound.example"], &[]);
        assert!(ask(&named, "GET http://rebound.example:80").is_ok());
        assert_eq!(connect(&named, "93.184.216.34:80"), Ok(()));
        assert_eq!(connect(&named, "127.0.0.1:80"), Err(Denied::Closed(Closed::Loopback)));
        assert_eq!(connect(&named, "10.0.0.1:80"), Err(Denied::Closed(Closed::Private)));
        let both = outbound(&["http://rebound.example", "GET http://10.0.0.0/8"], &[]);
        assert_eq!(connect(&both, "10.0.0.1:80"), Ok(()));
        let post = both.may_connect(
            Scheme::Http,
            Some(&Method::POST),
            "10.0.0.1:80".parse().unwrap(),
            false,
        );
        assert_eq!(post, Err(Denied::Closed(Closed::Private)));
        let network = outbound(&["http://10.0.0.0/8"], &[]);
        assert_eq!(ask(&network, "GET http://a.example:80"), Err(Denied::NoRule));
    }

    #[test]
    fn localhost_is_this_machine_and_our_own_ports_need_their_very_number() {
        let rules = outbound(&["http://localhost:*"], &["127.0.0.1:8081"]);
        assert_eq!(ask(&rules, "GET http://localhost:9000"), Ok(Place::Localhost));
        assert_eq!(connect(&rules, "127.0.0.1:9000"), Ok(()));
        assert_eq!(connect(&rules, "[::1]:9000"), Ok(()));
        assert_eq!(connect(&rules, "127.0.0.1:8081"), Err(Denied::Closed(Closed::Own)));
        let rules = outbound(&["http://localhost:8081"], &["127.0.0.1:8081"]);
        assert_eq!(connect(&rules, "127.0.0.1:8081"), Ok(()));
        let public = outbound(&["http://*:*"], &["0.0.0.0:8080"]);
        let ours = "93.184.216.34:8080".parse().unwrap();
        let check = |rules: &Outbound| rules.may_connect(Scheme::Http, None, ours, true);
        assert_eq!(check(&public), Err(Denied::Closed(Closed::Own)));
        assert_eq!(check(&outbound(&["http://93.184.216.34:8080"], &["0.0.0.0:8080"])), Ok(()));
    }

    #[test]
    fn functions_are_named_below_a_name_of_their_own() {
        let rules =
            outbound(&["http://hello.shop.dhow.internal", "http://*.dev.dhow.internal"], &[]);
        let hello = FunctionName::parse("hello.shop").unwrap();
        assert_eq!(
            ask(&rules, "GET http://hello.shop.dhow.internal:80"),
            Ok(Place::Function(hello))
        );
        assert!(ask(&rules, "GET http://any.dev.dhow.internal:80").is_ok());
        for asked in ["GET http://other.shop.dhow.internal:80", "GET http://hello.dhow.internal:80"]
        {
            assert_eq!(ask(&rules, asked), Err(Denied::NoRule), "{asked}");
        }
        let rules = outbound(&["http://*.internal"], &[]);
        assert_eq!(ask(&rules, "GET http://a.b.dhow.internal:80"), Err(Denied::NoRule));
    }
}
