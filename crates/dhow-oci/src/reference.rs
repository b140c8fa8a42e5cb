//! Image references, as Docker and OCI write them: `[HOST[:PORT]/]PATH[:TAG][@DIGEST]`.
//!
//! The grammar is that of the distribution project: a first part is a host when it has a dot, a
//! colon, an upper-case letter or is `localhost`; else the host is Docker Hub's, and a name of one
//! part stands in its `library/`. Nothing here asks a registry.

use std::fmt;
use std::str::FromStr;

use dhow_core::digest::Digest;

/// The host that a reference without one means.
pub const DOCKER_HUB: &str = "docker.io";

/// The longest reference that is read, bytes.
const LONGEST: usize = 1024;
/// The longest repository path, bytes (the distribution specification's limit for host and path
/// together is 255).
const LONGEST_PATH: usize = 255;
/// The longest tag, bytes.
const LONGEST_TAG: usize = 128;

/// One image or artifact in one repository of one registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference {
    host: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

/// A text that is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadReference {
    /// Nothing was given.
    #[error("an image reference is empty")]
    Empty,
    /// It is longer than any real one.
    #[error("an image reference has at most {LONGEST} bytes")]
    TooLong,
    /// It begins like a web address.
    #[error("an image reference has no `{0}`; write HOST/PATH:TAG")]
    Scheme(String),
    /// The part before the first slash is no host.
    #[error("`{0}` is not the host of a registry; write HOST or HOST:PORT")]
    Host(String),
    /// The path has characters that no repository has.
    #[error(
        "`{0}` is not a repository; it has lower-case letters and digits, separated by `.`, `_`, `-` or `/`"
    )]
    Path(String),
    /// The tag has characters that no tag has.
    #[error("`{0}` is not a tag; it has up to 128 letters, digits, `_`, `.` and `-`")]
    Tag(String),
    /// The digest is none, or of a kind that is not verified here.
    #[error("`{0}` is not a digest; write @sha256: and 64 lower-case hex digits")]
    Digest(String),
}

impl Reference {
    /// The registry's name as people write it, `docker.io` where none was written; with the port
    /// where one was.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The host and port that are asked: Docker Hub answers under another name than its own.
    pub fn endpoint(&self) -> &str {
        if self.host == DOCKER_HUB { "registry-1.docker.io" } else { &self.host }
    }

    /// The repository, `library/` included.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The tag as written.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest as written.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// What a manifest is asked by: the digest where there is one, else the tag, else `latest`.
    pub fn selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same repository, pinned to one digest. A tag that was written stays, for people.
    #[must_use]
    pub fn pinned(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }
}

impl FromStr for Reference {
    type Err = BadReference;

    fn from_str(text: &str) -> Result<Self, BadReference> {
        if text.is_empty() {
            return Err(BadReference::Empty);
        }
        if text.len() > LONGEST {
            return Err(BadReference::TooLong);
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(BadReference::Scheme(format!("{scheme}://")));
        }
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => {
                let read = digest.parse().map_err(|_| BadReference::Digest(digest.to_owned()))?;
                (name, Some(read))
            }
            None => (text, None),
        };
        let (host, rest) = split_host(name)?;
        // A port stands before the last slash, so the last colon after it begins the tag.
        let (path, tag) = match rest.rsplit_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return Err(BadReference::Tag(tag.to_owned()));
        }
        let path = if host == DOCKER_HUB && !path.contains('/') {
            format!("library/{path}")
        } else {
            path.to_owned()
        };
        if !is_path(&path) {
            return Err(BadReference::Path(path));
        }
        Ok(Self { host, path, tag: tag.map(str::to_owned), digest })
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.host, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// The registry that `host` names, in the one way that references, credentials and settings are
/// compared: Docker Hub's several names are one, and letters are lower-case.
pub fn canonical_host(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" | "registry.hub.docker.com" => {
            DOCKER_HUB.to_owned()
        }
        _ => host,
    }
}

/// Whether `host` is this machine itself: `localhost`, `*.localhost` or a loopback address, with a
/// port or without.
pub fn is_loopback(host: &str) -> bool {
    let name = without_port(host);
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    name == "localhost"
        || name.ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// `host` without its port.
pub fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

/// Whether the text is a registry's name: HOST, HOST:PORT, \[IPv6\] or \[IPv6\]:PORT.
pub fn is_host(text: &str) -> bool {
    let name = without_port(text);
    let port = &text[name.len()..];
    let port_fits = port.is_empty()
        || port.strip_prefix(':').is_some_and(|digits| {
            digits.bytes().all(|digit| digit.is_ascii_digit())
                && digits.parse::<u16>().is_ok_and(|number| number > 0)
        });
    let name_fits = match name.strip_prefix('[') {
        Some(rest) => rest
            .strip_suffix(']')
            .is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok()),
        None => name.len() <= 253 && name.split('.').all(is_label),
    };
    port_fits && name_fits
}

fn split_host(name: &str) -> Result<(String, &str), BadReference> {
    let Some((first, rest)) = name.split_once('/') else {
        return Ok((DOCKER_HUB.to_owned(), name));
    };
    let looks_like_host = first == "localhost"
        || first.contains(['.', ':', '['])
        || first.bytes().any(|byte| byte.is_ascii_uppercase());
    if !looks_like_host {
        return Ok((DOCKER_HUB.to_owned(), name));
    }
    if !is_host(first) {
        return Err(BadReference::Host(first.to_owned()));
    }
    Ok((canonical_host(first), rest))
}

fn is_label(label: &str) -> bool {
    !label.is_empty()
        && label.len() <= 63
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_path(path: &str) -> bool {
    path.len() <= LONGEST_PATH && path.split('/').all(is_component)
}

/// Runs of lower-case letters and digits, between them one `.`, one or two `_`, or any number of
/// `-`.
fn is_component(component: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(&first), Some(&last)) = (bytes.first(), bytes.last()) else {
        return false;
    };
    letter(first)
        && letter(last)
        && bytes
            .split(|&byte| letter(byte))
            .all(|gap| matches!(gap, b"" | b"." | b"_" | b"__") || gap.iter().all(|&b| b == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= LONGEST_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn read(text: &str) -> Reference {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_host_is_told_from_a_path() {
        for (text, written) in [
            ("hello", "docker.io/library/hello"),
            ("hello:v1", "docker.io/library/hello:v1"),
            ("me/hello", "docker.io/me/hello"),
            ("docker.io/hello", "docker.io/library/hello"),
            ("index.docker.io/me/hello", "docker.io/me/hello"),
            ("localhost/hello", "localhost/hello"),
            ("localhost:5000/hello:v1", "localhost:5000/hello:v1"),
            ("host:5000/a/b/c", "host:5000/a/b/c"),
            ("ghcr.io/me/a__b.c--d:V1_x", "ghcr.io/me/a__b.c--d:V1_x"),
            ("127.0.0.1:5000/x", "127.0.0.1:5000/x"),
            ("[::1]:5000/x:y", "[::1]:5000/x:y"),
            ("[2001:db8::1]/x", "[2001:db8::1]/x"),
            ("GHCR.io/x", "ghcr.io/x"),
            // What could be a port is a tag where no path follows.
            ("host:5000", "docker.io/library/host:5000"),
        ] {
            assert_eq!(read(text).to_string(), written, "{text}");
        }
        assert_eq!(read("hello").endpoint(), "registry-1.docker.io");
        assert_eq!(read("ghcr.io/x").endpoint(), "ghcr.io");
    }

    #[test]
    fn a_digest_wins_over_a_tag_and_latest_is_what_is_left() {
        let digest = format!("sha256:{HEX}");
        let both = read(&format!("ghcr.io/me/x:v1@{digest}"));
        assert_eq!((both.tag(), both.selector()), (Some("v1"), digest.clone()));
        assert_eq!(read("ghcr.io/me/x").selector(), "latest");
        let pinned = read("ghcr.io/me/x:v1").pinned(digest.parse().unwrap());
        assert_eq!(pinned, both);
    }

    #[test]
    fn what_is_no_reference_is_refused_by_its_part() {
        let upper = format!("x@sha256:{}", HEX.to_uppercase());
        for (text, part) in [
            ("", "empty"),
            ("https://ghcr.io/x", "`https://`"),
            ("Hello", "repository"),
            ("me//hello", "repository"),
            ("a/../b", "repository"),
            ("host:0/x", "host"),
            ("host:99999/x", "host"),
            ("-host.io/x", "host"),
            ("[::1/x", "host"),
            ("[zz]:1/x", "host"),
            ("user:pass@ghcr.io/x", "digest"),
            ("x:", "tag"),
            ("x:.y", "tag"),
            ("x:a b", "tag"),
            ("x?y", "repository"),
            ("x@sha256:12", "digest"),
            ("x@sha512:12", "digest"),
            (&upper, "digest"),
        ] {
            let error = text.parse::<Reference>().unwrap_err();
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        assert_eq!("x".repeat(2000).parse::<Reference>(), Err(BadReference::TooLong));
        assert!(format!("ghcr.io/{}", "x".repeat(256)).parse::<Reference>().is_err());
        assert!(format!("x:{}", "t".repeat(129)).parse::<Reference>().is_err());
    }

    #[test]
    fn this_machine_is_known_by_its_names() {
        for host in ["localhost", "localhost:5000", "127.0.0.1:5000", "127.9.9.9", "[::1]:80"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["localhost.evil.io", "10.0.0.1:5000", "127.0.0.1.evil.io", "[::2]", "ghcr.io"]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_was_read_reads_again(text in ".{0,80}") {
            if let Ok(reference) = text.parse::<Reference>() {
                prop_assert_eq!(reference.to_string().parse::<Reference>(), Ok(reference));
            }
        }

        #[test]
        fn what_is_made_of_its_parts_reads_as_them(
            host in "(localhost|[a-z]{1,9}\\.io|127\\.0\\.0\\.1|\\[::1\\])(:[1-9][0-9]{0,3})?",
            path in "[a-z0-9]{1,9}((\\.|_|__|-{1,3}|/)[a-z0-9]{1,5}){0,4}",
            tag in proptest::option::of("[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}"),
            digest in proptest::option::of(proptest::array::uniform32(any::<u8>())),
        ) {
            let digest = digest.map(Digest::from_bytes);
            let text = format!(
                "{host}/{path}{}{}",
                tag.as_ref().map_or(String::new(), |tag| format!(":{tag}")),
                digest.map_or(String::new(), |digest| format!("@{digest}")),
            );
            let read: Reference = text.parse().unwrap();
            prop_assert_eq!(read.host(), &host);
            prop_assert_eq!(read.path(), &path);
            prop_assert_eq!(read.tag(), tag.as_deref());
            prop_assert_eq!(read.digest(), digest);
            prop_assert_eq!(read.to_string(), text);
        }
    }
}
