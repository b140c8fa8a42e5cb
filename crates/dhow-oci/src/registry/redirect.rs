//! Where a redirect may lead, and what may be shown there. Addresses in, a decision out.

use url::Url;

/// Why a redirect is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadRedirect {
    #[error("without saying where to")]
    Nowhere,
    #[error("to an address that is none")]
    Address,
    #[error("from https to http, where anybody could read along")]
    Downgrade,
    #[error("to `{0}:`, which is not the web")]
    Scheme(String),
}

/// The address that `location` means, as an answer to a request for `from`.
pub(super) fn target(from: &Url, location: Option<&str>) -> Result<Url, BadRedirect> {
    let location = location.ok_or(BadRedirect::Nowhere)?;
    let mut to = from.join(location).map_err(|_| BadRedirect::Address)?;
    match (from.scheme(), to.scheme()) {
        ("https", "http") => return Err(BadRedirect::Downgrade),
        (_, "http" | "https") => {}
        (_, other) => return Err(BadRedirect::Scheme(other.to_owned())),
    }
    // A name and password in the address would be sent as ours.
    if to.set_username("").is_err() || to.set_password(None).is_err() {
        return Err(BadRedirect::Address);
    }
    to.set_fragment(None);
    Ok(to)
}

/// Whether what may be shown at `one` may be shown at `other`: scheme, host and port are the same.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin() && one.origin().is_tuple()
}

/// Scheme, host and path of an address: userinfo and query may hold secrets.
pub(super) fn trimmed(address: &Url) -> String {
    let origin = address.origin().ascii_serialization();
    format!("{origin}{}", address.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_never_goes_down_to_plain_text() {
        let from = url("https://a.io/v2/x");
        for (location, wanted) in [
            (Some("/y?t=1#f"), Ok(url("https://a.io/y?t=1"))),
            (Some("https://cdn.io/b"), Ok(url("https://cdn.io/b"))),
            (Some("https://u:p@cdn.io/b"), Ok(url("https://cdn.io/b"))),
            (Some("//cdn.io/b"), Ok(url("https://cdn.io/b"))),
            (Some("http://a.io/y"), Err(BadRedirect::Downgrade)),
            (Some("file:///etc/passwd"), Err(BadRedirect::Scheme("file".to_owned()))),
            (Some("https://"), Err(BadRedirect::Address)),
            (None, Err(BadRedirect::Nowhere)),
        ] {
            assert_eq!(target(&from, location), wanted, "{location:?}");
        }
        assert!(target(&url("http://a.io/"), Some("http://b.io/")).is_ok());
        assert!(target(&url("http://a.io/"), Some("https://b.io/")).is_ok());
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let from = url("https://a.io/v2/x");
        assert!(same_origin(&from, &url("https://a.io:443/other")));
        for other in ["https://a.io:444/", "http://a.io/", "https://b.a.io/", "https://a.io.b/"] {
            assert!(!same_origin(&from, &url(other)), "{other}");
        }
    }

    #[test]
    fn nothing_secret_is_left_of_an_address() {
        let shown = trimmed(&url("https://me:hunter2@cdn.io:8443/a/b?sig=hunter2#hunter2"));
        assert_eq!(shown, "https://cdn.io:8443/a/b");
    }
}
