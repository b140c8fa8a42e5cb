//! Which addresses may be connected to on a stranger's behalf: for a callback, and, with the rules of
//! a function beside it ([`super::outbound`]), for what guests ask for.
//!
//! The rule is about addresses, never about names: whoever connects resolves a name first, asks
//! about each address, and connects to the one that was asked about. Nothing but the public
//! internet is open; what lies nearer (this machine, its link, private networks, the services
//! that hand credentials to machines of a cloud) is open only where an [`Allowed`] says so. The
//! ranges are those of the IANA registries of special-purpose addresses (RFC 6890 and its
//! updates).

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::Uri;

/// Bytes of a URL that a stranger gives.
const MOST_URL: usize = 4096;

/// Addresses, and perhaps one port of them, that are open though they would not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowed {
    network: IpAddr,
    /// Leading bits of `network` that count.
    prefix: u8,
    port: Option<u16>,
}

/// What is open, and what is ours.
#[derive(Debug, Clone, Default)]
pub struct EgressRule {
    /// Open, though they would not be.
    pub allowed: Vec<Allowed>,
    /// dhow's own listeners. They are open only where an [`Allowed`] names their very port.
    pub own: Vec<SocketAddr>,
}

/// Why an address is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Closed {
    /// This machine.
    #[error("it is this machine's own")]
    Loopback,
    /// The link, where clouds keep their metadata services.
    #[error("it is on the local link")]
    LinkLocal,
    /// A service that hands out a machine's credentials.
    #[error("it is a cloud's metadata service")]
    Metadata,
    /// A private or shared network.
    #[error("it is in a private network")]
    Private,
    /// No host's address.
    #[error("it is no host's address")]
    Special,
    /// One of dhow's own ports.
    #[error("it is one of dhow's own ports")]
    Own,
}

/// Why a URL is not one that may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Another scheme, or none.
    #[error("it must be a whole URL of http or https")]
    Scheme,
    /// A name and a password would be kept and logged by those who should not know them.
    #[error("it may not hold credentials")]
    Credentials,
    /// Too long.
    #[error("it has more than {MOST_URL} bytes")]
    Long,
    /// It names an address that is closed.
    #[error("its address may not be connected to: {0}")]
    Closed(Closed),
}

/// Why a text is not an [`Allowed`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not ADDRESS[/PREFIX][:PORT], such as 127.0.0.1:9000, 10.0.0.0/8 or [fd00::/8]:443"
)]
pub struct BadAllowed(String);

impl EgressRule {
    /// Whether `address` may be connected to. `is_ours` says that it is an address of this
    /// machine, which only a look at its interfaces tells.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, address: SocketAddr, is_ours: bool) -> Result<(), Closed> {
        let (ip, port) = (plain(address.ip()), address.port());
        let allowed = |one: &&Allowed| one.holds(ip) && one.port.is_none_or(|only| only == port);
        let named = self.allowed.iter().find(allowed);
        if self.is_own(ip, port, is_ours) && named.is_none_or(|one| one.port.is_none()) {
            return Err(Closed::Own);
        }
        // What listens on this machine is behind the firewall that keeps others from it.
        let closed = if is_ours { Some(Closed::Loopback) } else { closed(ip) };
        match closed {
            Some(why) if named.is_none() => Err(why),
            _ => Ok(()),
        }
    }

    /// Whether `url` may be asked for, as far as that can be told without resolving its name.
    ///
    /// # Errors
    /// Why not.
    pub fn check_url(&self, url: &Uri) -> Result<(), BadUrl> {
        let port = match url.scheme_str() {
            Some("http") => 80,
            Some("https") => 443,
            _ => return Err(BadUrl::Scheme),
        };
        let authority = url.authority().ok_or(BadUrl::Scheme)?;
        if authority.as_str().contains('@') {
            return Err(BadUrl::Credentials);
        }
        if url.path().len() + url.query().map_or(0, str::len) + authority.as_str().len() > MOST_URL
        {
            return Err(BadUrl::Long);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        match host.parse() {
            Ok(ip) => {
                let address = SocketAddr::new(ip, authority.port_u16().unwrap_or(port));
                self.check(address, false).map_err(BadUrl::Closed)
            }
            // A name; what it stands for is asked when it is connected to.
            Err(_) => Ok(()),
        }
    }

    fn is_own(&self, ip: IpAddr, port: u16, is_ours: bool) -> bool {
        is_one_of_own(&self.own, ip, port, is_ours)
    }
}

/// Whether one of dhow's own listeners hears at `ip`, which is [`plain`].
pub(super) fn is_one_of_own(own: &[SocketAddr], ip: IpAddr, port: u16, is_ours: bool) -> bool {
    own.iter().any(|own| {
        let listens =
            plain(own.ip()) == ip || (own.ip().is_unspecified() && (is_ours || ip.is_loopback()));
        own.port() == port && listens
    })
}

impl Allowed {
    fn holds(&self, ip: IpAddr) -> bool {
        is_in(self.network, self.prefix, ip)
    }
}

/// Whether the first `prefix` bits of `ip` are those of `network`.
pub(super) fn is_in(network: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0);
            network.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

impl FromStr for Allowed {
    type Err = BadAllowed;

    fn from_str(text: &str) -> Result<Self, BadAllowed> {
        let bad = || BadAllowed(text.chars().take(64).collect());
        let (address, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or_else(bad)?;
                match rest {
                    "" => (address, None),
                    rest => (address, Some(rest.strip_prefix(':').ok_or_else(bad)?)),
                }
            }
            // More than one colon, and no brackets: IPv6 without a port.
            None if text.matches(':').count() > 1 => (text, None),
            None => match text.split_once(':') {
                Some((address, port)) => (address, Some(port)),
                None => (text, None),
            },
        };
        let (network, prefix) = match address.split_once('/') {
            Some((network, prefix)) => (network, Some(prefix)),
            None => (address, None),
        };
        let network: IpAddr = network.parse().map_err(|_| bad())?;
        let bits = if network.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(bits), |text| text.parse().map_err(|_| bad()))?;
        if prefix > bits {
            return Err(bad());
        }
        let port = port.map(|text| text.parse().map_err(|_| bad())).transpose()?;
        Ok(Self { network, prefix, port })
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.network {
            IpAddr::V4(network) => write!(f, "{network}/{}", self.prefix)?,
            IpAddr::V6(network) => write!(f, "[{network}/{}]", self.prefix)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// The address that packets would go to: IPv4 that is written inside of IPv6 is IPv4.
pub(super) fn plain(ip: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = ip else { return ip };
    match v6.segments() {
        // Mapped (RFC 4291), translated (RFC 6052), 6to4 (RFC 3056).
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        [0x2002, high, low, ..] => {
            IpAddr::V4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        _ => ip,
    }
}

pub(super) fn closed(ip: IpAddr) -> Option<Closed> {
    match ip {
        IpAddr::V4(ip) => closed_v4(ip),
        IpAddr::V6(ip) => closed_v6(ip),
    }
}

fn closed_v4(ip: Ipv4Addr) -> Option<Closed> {
    match ip.octets() {
        [127, ..] => Some(Closed::Loopback),
        [169, 254, ..] => Some(Closed::LinkLocal),
        // Azure's, Oracle's, Alibaba's: outside of the link.
        [168, 63, 129, 16] | [192, 0, 0, 192] | [100, 100, 100, 200] => Some(Closed::Metadata),
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => {
            Some(Closed::Private)
        }
        // "This network" reaches this machine on Linux; then protocol assignments, texts'
        // examples, 6to4's relays, benchmarks, groups, the future and everybody.
        [0 | 224..=255, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18..=19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => Some(Closed::Special),
        _ => None,
    }
}

fn closed_v6(ip: Ipv6Addr) -> Option<Closed> {
    match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 1] => Some(Closed::Loopback),
        [0xfe80..=0xfebf, ..] => Some(Closed::LinkLocal),
        // Amazon's and Google's.
        [0xfd00, 0xec2, ..] | [0xfd20, 0xce, ..] => Some(Closed::Metadata),
        // Unique local, the old site-local, and networks that translate to IPv4 in their own way.
        [0xfc00..=0xfdff | 0xfec0..=0xfeff, ..] | [0x64, 0xff9b, 1, ..] => Some(Closed::Private),
        // Only 2000::/3 is given out to hosts; of that, not protocols' own and examples.
        [0x2001, 0..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Some(Closed::Special),
        [0x2000..=0x3fff, ..] => None,
        _ => Some(Closed::Special),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rule: &EgressRule, address: &str) -> Result<(), Closed> {
        let address = address.parse().unwrap_or_else(|_| panic!("{address} is an address"));
        rule.check(address, false)
    }

    fn rule(allowed: &[&str], own: &[&str]) -> EgressRule {
        EgressRule {
            allowed: allowed.iter().map(|text| text.parse().unwrap()).collect(),
            own: own.iter().map(|text| text.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn the_public_internet_is_open_and_what_is_nearer_is_not() {
        let rule = EgressRule::default();
        for open in ["1.1.1.1:80", "93.184.216.34:443", "[2606:4700::1111]:443", "172.32.0.1:1"] {
            assert_eq!(check(&rule, open), Ok(()), "{open}");
        }
        for (address, why) in [
            ("127.0.0.1:80", Closed::Loopback),
            ("127.255.0.9:80", Closed::Loopback),
            ("[::1]:80", Closed::Loopback),
            ("0.0.0.0:80", Closed::Special),
            ("[::]:80", Closed::Special),
            ("169.254.169.254:80", Closed::LinkLocal),
            ("[fe80::1]:80", Closed::LinkLocal),
            ("168.63.129.16:80", Closed::Metadata),
            ("100.100.100.200:80", Closed::Metadata),
            ("[fd00:ec2::254]:80", Closed::Metadata),
            ("10.0.0.1:80", Closed::Private),
            ("172.16.0.1:80", Closed::Private),
            ("172.31.255.255:80", Closed::Private),
            ("192.168.1.1:80", Closed::Private),
            ("100.64.0.1:80", Closed::Private),
            ("[fd12::1]:80", Closed::Private),
            ("[fec0::1]:80", Closed::Private),
            ("224.0.0.1:80", Closed::Special),
            ("255.255.255.255:80", Closed::Special),
            ("[ff02::1]:80", Closed::Special),
            ("198.18.0.1:80", Closed::Special),
        ] {
            assert_eq!(check(&rule, address), Err(why), "{address}");
        }
    }

    #[test]
    fn ipv4_is_found_inside_of_ipv6() {
        let rule = EgressRule::default();
        for (address, why) in [
            ("[::ffff:127.0.0.1]:80", Closed::Loopback),
            ("[::ffff:169.254.169.254]:80", Closed::LinkLocal),
            ("[64:ff9b::10.0.0.1]:80", Closed::Private),
            ("[64:ff9b:1::10.0.0.1]:80", Closed::Private),
            ("[2002:7f00:1::]:80", Closed::Loopback),
            ("[::127.0.0.1]:80", Closed::Special),
            ("[2001::1]:80", Closed::Special),
        ] {
            assert_eq!(check(&rule, address), Err(why), "{address}");
        }
        assert_eq!(check(&rule, "[::ffff:1.1.1.1]:80"), Ok(()));
    }

    #[test]
    fn what_is_allowed_is_open_and_no_more() {
        let rule = rule(&["127.0.0.1:9000", "10.1.0.0/16", "[fd00::/8]:443"], &[]);
        assert_eq!(check(&rule, "127.0.0.1:9000"), Ok(()));
        assert_eq!(check(&rule, "[::ffff:127.0.0.1]:9000"), Ok(()));
        assert_eq!(check(&rule, "127.0.0.1:9001"), Err(Closed::Loopback));
        assert_eq!(check(&rule, "127.0.0.2:9000"), Err(Closed::Loopback));
        assert_eq!(check(&rule, "10.1.255.1:1"), Ok(()));
        assert_eq!(check(&rule, "10.2.0.1:1"), Err(Closed::Private));
        assert_eq!(check(&rule, "[fd01::1]:443"), Ok(()));
        assert_eq!(check(&rule, "[fd01::1]:80"), Err(Closed::Private));
    }

    #[test]
    fn our_own_ports_are_open_only_where_they_are_named() {
        let own = ["127.0.0.1:8080", "0.0.0.0:8081"];
        let near = rule(&["127.0.0.0/8"], &own);
        assert_eq!(check(&near, "127.0.0.1:9000"), Ok(()));
        assert_eq!(check(&near, "127.0.0.1:8080"), Err(Closed::Own));
        assert_eq!(check(&near, "127.0.0.1:8081"), Err(Closed::Own));
        let named = rule(&["127.0.0.1:8080"], &own);
        assert_eq!(check(&named, "127.0.0.1:8080"), Ok(()));
        // A public address of this machine is ours where every address is listened on.
        let public: SocketAddr = "93.184.216.34:8081".parse().unwrap();
        assert_eq!(near.check(public, true), Err(Closed::Own));
        assert_eq!(near.check(public, false), Ok(()));
    }

    #[test]
    fn an_exception_is_written_as_it_is_read() {
        for text in ["10.0.0.0/8", "127.0.0.1/32:9000", "[fd00::/8]", "[::1/128]:443"] {
            assert_eq!(text.parse::<Allowed>().unwrap().to_string(), text);
        }
        assert_eq!("::1".parse::<Allowed>().unwrap().to_string(), "[::1/128]");
        let wrong =
            ["", "host", "10.0.0.0/33", "1.2.3.4:x", "[::1", "[::1]9", "10.0.0.0/", "::/129"];
        for text in wrong {
            assert!(text.parse::<Allowed>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_url_is_judged_before_anybody_connects() {
        let rule = rule(&["127.0.0.1:9000"], &[]);
        let check = |url: &str| rule.check_url(&url.parse().unwrap());
        for right in [
            "http://a.example/b?c",
            "https://a",
            "http://127.0.0.1:9000/",
            "http://[2606:4700::1]/",
        ] {
            assert_eq!(check(right), Ok(()), "{right}");
        }
        for (url, why) in [
            ("/b", BadUrl::Scheme),
            ("ftp://a/", BadUrl::Scheme),
            ("http://u:p@a/", BadUrl::Credentials),
            ("http://127.0.0.1/", BadUrl::Closed(Closed::Loopback)),
            ("http://[::1]:9000/", BadUrl::Closed(Closed::Loopback)),
            ("https://169.254.169.254/latest", BadUrl::Closed(Closed::LinkLocal)),
            (&format!("http://a/{}", "b".repeat(5000)), BadUrl::Long),
        ] {
            assert_eq!(check(url), Err(why), "{url}");
        }
    }

    proptest! {
        #[test]
        fn a_wide_exception_opens_every_address_of_its_kind(bits: u32, port: u16) {
            let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(bits)), port);
            prop_assert_eq!(rule(&["0.0.0.0/0"], &[]).check(address, false), Ok(()));
            let mapped = Ipv4Addr::from_bits(bits).to_ipv6_mapped();
            let nowhere = EgressRule::default();
            prop_assert_eq!(
                nowhere.check(address, false),
                nowhere.check(SocketAddr::new(IpAddr::V6(mapped), port), false)
            );
        }
    }
}
