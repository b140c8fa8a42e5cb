//! Which component of an application answers a request, and what it is told about that: Spin's
//! routes and its `spin-*` headers.
//!
//! A route is `/a/b`, with `:name` for one segment and `/...` (or `/*`) at its end for everything
//! below. The more literal route wins, segment by segment; a slash at a path's end makes no
//! difference but to what `...` stands for.

use std::net::SocketAddr;

use http::{Method, Uri};

use super::routes::{Match, RouteTable};
use crate::application::{Application, Trigger};
use crate::route::Route;

/// Says that the application is there.
pub const HEALTH: &str = "/.well-known/spin/health";
/// Says what it is.
pub const INFO: &str = "/.well-known/spin/info";

/// The routes of an application, ready for lookups.
pub struct Components {
    table: RouteTable<usize>,
    routes: Vec<Declared>,
}

struct Declared {
    component: usize,
    /// As the manifest has it.
    raw: String,
    /// With the application's base before it.
    based: String,
}

/// Why routes can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the route `{route}` {why}")]
pub struct BadRoute {
    /// Which.
    pub route: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// An index of the application's components.
    pub component: usize,
    raw: String,
    based: String,
    parameters: Vec<(String, String)>,
    /// What `...` stands for.
    rest: String,
}

/// What a component is told of a request. Each has the name of a variable; a header's name is
/// `spin-` before it, with `-` for `_`.
pub type Facts = Vec<(String, String)>;

/// What a request says besides its path.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// The host that was asked for, perhaps with a port.
    pub host: &'a str,
    /// Path and query.
    pub uri: &'a Uri,
    /// Who asks.
    pub client: SocketAddr,
}

impl Components {
    /// The routes of `application`.
    ///
    /// # Errors
    /// When one is no route.
    pub fn new<S, F>(application: &Application<S, F>) -> Result<Self, BadRoute> {
        let mut routes = Vec::new();
        let mut patterns = Vec::new();
        // Of two that are the same the table takes the first, Spin the last.
        for Trigger { component, route } in application.triggers.iter().rev() {
            let Some(raw) = route else { continue };
            let based = with_base(&application.base, raw);
            patterns.push((vec![pattern(&based)?], routes.len()));
            routes.push(Declared { component: *component, raw: raw.clone(), based });
        }
        let table = RouteTable::new(patterns.iter().map(|(path, index)| (&path[..], *index)));
        Ok(Self { table, routes })
    }

    /// Where a request for `path` goes.
    pub fn find(&self, path: &str) -> Option<Found> {
        let plain = match path.trim_end_matches('/') {
            "" => "/",
            plain => plain,
        };
        let Match::Found { target, base: _ } = self.table.find(None, &Method::GET, plain) else {
            return None;
        };
        let Declared { component, raw, based } = self.routes.get(*target)?;
        let (prefix, is_open) = open(based);
        let depth = prefix.matches('/').count();
        let parameters = prefix
            .split('/')
            .zip(plain.split('/'))
            .filter_map(|(segment, value)| Some((segment.strip_prefix(':')?, value)))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let rest = match path.match_indices('/').nth(depth) {
            Some((end, _)) if is_open => path[end..].to_owned(),
            _ => String::new(),
        };
        let (raw, based) = (raw.clone(), based.clone());
        Some(Found { component: *component, raw, based, parameters, rest })
    }
}

impl Found {
    /// A request of one component to another, which has a route for everything then.
    pub fn chained(component: usize, path: &str) -> Self {
        let everything = || "/...".to_owned();
        let (raw, based, rest) = (everything(), everything(), path.to_owned());
        Self { component, raw, based, parameters: vec![], rest }
    }

    /// What a component is told.
    pub fn facts(&self, asked: Asked<'_>) -> Facts {
        let Asked { scheme, host, uri, client } = asked;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let own = [
            ("PATH_INFO", self.rest.clone()),
            ("FULL_URL", format!("{scheme}://{host}{path}")),
            ("MATCHED_ROUTE", self.based.clone()),
            ("BASE_PATH", "/".to_owned()),
            ("RAW_COMPONENT_ROUTE", self.raw.clone()),
            ("COMPONENT_ROUTE", self.route().to_owned()),
            ("CLIENT_ADDR", client.to_string()),
        ];
        let parameter = |(name, value): &(String, String)| {
            (format!("PATH_MATCH_{}", name.to_ascii_uppercase()), value.clone())
        };
        let own = own.into_iter().map(|(name, value)| (name.to_owned(), value));
        own.chain(self.parameters.iter().map(parameter)).collect()
    }

    /// The route as the manifest has it, without what stands for everything below.
    pub fn route(&self) -> &str {
        open(&self.raw).0
    }

    /// What follows the route.
    pub fn rest(&self) -> &str {
        &self.rest
    }
}

/// A route without its `/...`, and whether it had one.
fn open(route: &str) -> (&str, bool) {
    match route.strip_suffix("/...").or_else(|| route.strip_suffix("/*")) {
        Some(prefix) => (prefix, true),
        None => (route, false),
    }
}

fn with_base(base: &str, route: &str) -> String {
    let plain = |text: &str| text.strip_suffix('/').unwrap_or(text).to_owned();
    let slash = if route.starts_with('/') { "" } else { "/" };
    let whole = format!("{}{}", plain(base), plain(&format!("{slash}{route}")));
    if whole.is_empty() { "/".to_owned() } else { whole }
}

/// A route in the form of the table.
fn pattern(route: &str) -> Result<Route, BadRoute> {
    let refused = |why| BadRoute { route: route.to_owned(), why };
    let (prefix, is_open) = open(route);
    let mut path = String::new();
    for segment in prefix.split('/').skip(1) {
        path.push('/');
        match segment.strip_prefix(':') {
            Some("") => return Err(refused("has a parameter without a name")),
            Some(name)
                if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)) =>
            {
                return Err(refused("has a parameter whose name is no word"));
            }
            Some(name) => path.extend(["{", name, "}"]),
            None if segment.contains(['{', '}', '*', '?', '#']) => {
                return Err(refused("has `{`, `}`, `*`, `?` or `#` in it"));
            }
            None if segment == "..." => return Err(refused("has `...` before its end")),
            None => path.push_str(segment),
        }
    }
    if !route.starts_with('/') {
        return Err(refused("does not begin with `/`"));
    }
    if is_open {
        path.push_str("/*");
    }
    Ok(Route { path, methods: vec![], host: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(base: &str, routes: &[&str]) -> Result<Components, BadRoute> {
        let mut application = Application::of_one(crate::digest::Digest::from_bytes([0; 32]));
        application.base = base.to_owned();
        application.triggers = routes
            .iter()
            .enumerate()
            .map(|(component, route)| Trigger { component, route: Some((*route).to_owned()) })
            .collect();
        Components::new(&application)
    }

    fn found(base: &str, routes: &[&str], path: &str) -> Option<(usize, String)> {
        let found = components(base, routes).unwrap().find(path)?;
        Some((found.component, found.rest))
    }

    #[test]
    fn the_more_literal_route_wins_whatever_the_order() {
        let routes = ["/...", "/one/...", "/one/two", "/one/:x", "/one/two/..."];
        for (path, component, rest) in [
            ("/", 0, "/"),
            ("/other/deep/", 0, "/other/deep/"),
            ("/one", 1, ""),
            ("/one/", 1, "/"),
            ("/one/two", 2, ""),
            ("/one/three", 3, ""),
            ("/one/three/four", 1, "/three/four"),
            ("/one/two/three", 4, "/three"),
        ] {
            assert_eq!(found("/", &routes, path), Some((component, rest.to_owned())), "{path}");
        }
    }

    #[test]
    fn an_exact_route_takes_its_path_alone_with_or_without_a_slash() {
        let at = |path| found("/", &["/hello"], path).map(|(component, _)| component);
        assert_eq!(
            (at("/hello"), at("/hello/"), at("/hello/x"), at("/")),
            (Some(0), Some(0), None, None)
        );
        assert_eq!(found("/", &["/"], "/").map(|(component, _)| component), Some(0));
        assert_eq!(found("/", &["/"], "/x"), None);
    }

    #[test]
    fn of_two_equal_routes_the_later_one_holds() {
        assert_eq!(found("/", &["/a", "/a"], "/a"), Some((1, String::new())));
        assert_eq!(found("/", &["/:a", "/:b"], "/x"), Some((1, String::new())));
    }

    #[test]
    fn a_base_stands_before_every_route() {
        assert_eq!(found("/base/", &["hello/..."], "/base/hello/a"), Some((0, "/a".to_owned())));
        assert_eq!(found("/base", &["/hello"], "/hello"), None);
    }

    #[test]
    fn a_component_is_told_how_it_was_reached() {
        let found = components("/", &["/shop/:user_id/items/..."]).unwrap();
        let found = found.find("/shop/42/items/7/").unwrap();
        let uri: Uri = "/shop/42/items/7/?a=b".parse().unwrap();
        let client = "192.0.2.1:9".parse().unwrap();
        let asked = Asked { scheme: "https", host: "example.com", uri: &uri, client };
        let facts = found.facts(asked);
        for (name, value) in [
            ("PATH_INFO", "/7/"),
            ("FULL_URL", "https://example.com/shop/42/items/7/?a=b"),
            ("MATCHED_ROUTE", "/shop/:user_id/items/..."),
            ("RAW_COMPONENT_ROUTE", "/shop/:user_id/items/..."),
            ("COMPONENT_ROUTE", "/shop/:user_id/items"),
            ("BASE_PATH", "/"),
            ("CLIENT_ADDR", "192.0.2.1:9"),
            ("PATH_MATCH_USER_ID", "42"),
        ] {
            let fact = facts.iter().find(|(fact, _)| fact == name);
            assert_eq!(fact.map(|(_, value)| value.as_str()), Some(value), "{name}");
        }
    }

    #[test]
    fn what_is_no_route_is_refused() {
        for wrong in ["/a/{b}", "/:", "/:a b", "/a/*/b", "/.../a", "/a?b"] {
            assert!(components("/", &[wrong]).is_err(), "{wrong}");
        }
    }
}
