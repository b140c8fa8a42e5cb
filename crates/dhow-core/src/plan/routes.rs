//! Which function answers a request.
//!
//! Precedence, from first to last: the request's very host, then `*.suffix` hosts from the
//! longest suffix on, then routes for any host. Inside a host the more literal path wins, segment
//! by segment: `/a/b` before `/a/{x}` before `/a/*`. Then the method: a path with routes for
//! other methods only is `MethodNotAllowed`, and no less literal path is tried. A route for GET
//! answers HEAD too, where none is declared for HEAD. Paths are compared as they were sent:
//! nothing is decoded or normalised.
//!
//! The tree is our own because matchit, the usual crate, refuses a `{x}` beside a `/*` in some
//! orders of insertion.

use std::collections::HashMap;

use http::Method;

use crate::name::FunctionName;
use crate::route::Route;

/// Whose calls a function's routes may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Those of every namespace, by a more literal path or a host: whoever deploys may deploy there.
    Everywhere,
    /// Those of their own namespace alone.
    Namespace,
}

/// A route that another function has already, or whose calls another namespace's function gets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "route `{route}` of `{function}` takes calls of `{theirs}`, which belongs to `{owner}` already"
)]
pub struct Conflict {
    /// The route, as it was declared.
    pub route: String,
    /// That which is in force.
    pub theirs: String,
    /// Who asked for it.
    pub function: FunctionName,
    /// Who has it.
    pub owner: FunctionName,
}

/// The declared routes in force, ready for lookups. Immutable.
pub struct RouteTable<T> {
    hosts: HashMap<String, Paths<T>>,
    /// Longest suffix first, each with its leading dot.
    suffixes: Vec<(String, Paths<T>)>,
    any: Option<Paths<T>>,
}

/// The routes below one path.
struct Paths<T> {
    literal: HashMap<Box<str>, Self>,
    parameter: Option<Box<Self>>,
    /// Routes that end here.
    here: Vec<Entry<T>>,
    /// Routes that end in `/*` here.
    below: Vec<Entry<T>>,
}

#[derive(Clone)]
struct Entry<T> {
    /// None is every method.
    methods: Vec<Method>,
    /// Segments of the route without its `/*`.
    depth: usize,
    target: T,
}

/// What a lookup found.
#[derive(Debug, PartialEq, Eq)]
pub enum Match<'t, 'p, T> {
    /// The route's target.
    Found {
        /// What the table holds for it.
        target: &'t T,
        /// The part of the path that the route took, without what its `/*` stands for.
        base: &'p str,
    },
    /// There are routes for the path, for these methods.
    MethodNotAllowed(Vec<Method>),
    /// No route.
    None,
}

impl<T: Clone> RouteTable<T> {
    /// Builds the table. Routes that conflict, which [`check`] keeps out of a catalog, go to
    /// whoever comes first.
    pub fn new<'a>(routes: impl Iterator<Item = (&'a [Route], T)>) -> Self {
        let mut table = Self { hosts: HashMap::new(), suffixes: Vec::new(), any: None };
        for (routes, target) in routes {
            for route in routes {
                let base = route.path.strip_suffix("/*").unwrap_or(&route.path);
                let (methods, depth) = (route.methods.clone(), base.matches('/').count());
                let entry = Entry { methods, depth, target: target.clone() };
                table.paths(route.host.as_deref()).insert(&route.path, entry);
            }
        }
        table.suffixes.sort_by_key(|(suffix, _)| std::cmp::Reverse(suffix.len()));
        table
    }

    fn paths(&mut self, host: Option<&str>) -> &mut Paths<T> {
        let Some(host) = host.map(str::to_ascii_lowercase) else {
            return self.any.get_or_insert_default();
        };
        let Some(suffix) = host.strip_prefix('*') else {
            return self.hosts.entry(host).or_default();
        };
        let index = self.suffixes.iter().position(|(known, _)| known == suffix);
        let index = index.unwrap_or_else(|| {
            self.suffixes.push((suffix.to_owned(), Paths::default()));
            self.suffixes.len() - 1
        });
        &mut self.suffixes[index].1
    }

    /// The route for a request. `host` may carry a port.
    pub fn find<'p>(&self, host: Option<&str>, method: &Method, path: &'p str) -> Match<'_, 'p, T> {
        let host = host.map(normal_host);
        let host = host.as_deref().unwrap_or_default();
        let tables = self
            .hosts
            .get(host)
            .into_iter()
            .chain(self.suffixes.iter().filter(|(s, _)| host.ends_with(s.as_str())).map(|(_, t)| t))
            .chain(&self.any);
        for paths in tables {
            if let Some(entries) = paths.find(path.strip_prefix('/')) {
                return choose(entries, method, path);
            }
        }
        Match::None
    }
}

/// Whether `function` may have `routes` beside those that are in force.
///
/// # Errors
/// The first route that another function has for one of the same methods, or that reaches further
/// than it may.
pub fn check<'a>(
    existing: impl Iterator<Item = (&'a FunctionName, &'a [Route])>,
    function: &FunctionName,
    routes: &[Route],
    reach: Reach,
) -> Result<(), Conflict> {
    for (owner, theirs) in existing.filter(|(owner, _)| *owner != function) {
        let is_strange = reach == Reach::Namespace && owner.namespace != function.namespace;
        let is_taken = |one: &Route, other: &Route| {
            overlap(one, other) || (is_strange && is_some_request_of_both(one, other))
        };
        let pairs = routes.iter().flat_map(|one| theirs.iter().map(move |other| (one, other)));
        if let Some((route, other)) = pairs.into_iter().find(|(one, other)| is_taken(one, other)) {
            return Err(Conflict {
                route: print(route),
                theirs: print(other),
                function: function.clone(),
                owner: owner.clone(),
            });
        }
    }
    Ok(())
}

/// Whether there is a request that both routes are looked at for. Methods tell no routes apart here:
/// a more literal path answers for those that it does not take, too, with `MethodNotAllowed`.
fn is_some_request_of_both(one: &Route, other: &Route) -> bool {
    do_hosts_meet(one.host.as_deref(), other.host.as_deref())
        && do_paths_meet(one.path.split('/').skip(1), other.path.split('/').skip(1))
}

fn do_hosts_meet(one: Option<&str>, other: Option<&str>) -> bool {
    let (Some(one), Some(other)) = (one, other) else { return true };
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    match (one.strip_prefix('*'), other.strip_prefix('*')) {
        (None, None) => one == other,
        (Some(suffix), None) => other.ends_with(suffix),
        (None, Some(suffix)) => one.ends_with(suffix),
        (Some(one), Some(other)) => one.ends_with(other) || other.ends_with(one),
    }
}

fn do_paths_meet<'a>(
    mut one: impl Iterator<Item = &'a str>,
    mut other: impl Iterator<Item = &'a str>,
) -> bool {
    loop {
        match (one.next(), other.next()) {
            // `/a/*` answers `/a`, too.
            (Some("*"), _) | (_, Some("*")) | (None, None) => return true,
            (Some(a), Some(b)) if a == b || is_parameter(a) || is_parameter(b) => {}
            _ => return false,
        }
    }
}

/// Whether some request would belong to both routes with equal right.
fn overlap(one: &Route, other: &Route) -> bool {
    let same_host = match (&one.host, &other.host) {
        (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
        (one, other) => one.is_none() && other.is_none(),
    };
    let methods = one.methods.is_empty()
        || other.methods.is_empty()
        || one.methods.iter().any(|method| other.methods.contains(method));
    methods && same_host && is_same_path(&one.path, &other.path)
}

fn print(route: &Route) -> String {
    let host = route.host.as_deref().unwrap_or_default();
    match route.methods.as_slice() {
        [] => format!("{host}{}", route.path),
        methods => {
            let methods: Vec<_> = methods.iter().map(Method::as_str).collect();
            format!("{} {host}{}", methods.join(","), route.path)
        }
    }
}

/// Whether two routes have the same path: the names of parameters don't tell paths apart.
fn is_same_path(one: &str, other: &str) -> bool {
    let shape = |segment| if is_parameter(segment) { "{}" } else { segment };
    one.split('/').map(shape).eq(other.split('/').map(shape))
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{') && segment.ends_with('}')
}

impl<T> Paths<T> {
    fn insert(&mut self, path: &str, entry: Entry<T>) {
        let mut node = self;
        for segment in path.split('/').skip(1) {
            node = match segment {
                "*" => return node.below.push(entry),
                segment if is_parameter(segment) => node.parameter.get_or_insert_default(),
                segment => node.literal.entry(segment.into()).or_default(),
            };
        }
        node.here.push(entry);
    }

    /// The routes for what is left of a path; `None` is its end. Goes back where a more literal
    /// way ends in nothing.
    fn find(&self, rest: Option<&str>) -> Option<Entries<'_, T>> {
        let Some(rest) = rest else {
            // `/a/*` answers `/a` too, for methods that `/a` itself does not take.
            let entries = Entries(&self.here, &self.below);
            return (!entries.is_empty()).then_some(entries);
        };
        let (segment, rest) = match rest.split_once('/') {
            Some((segment, rest)) => (segment, Some(rest)),
            None => (rest, None),
        };
        let literal = self.literal.get(segment).and_then(|node| node.find(rest));
        let parameter = || match &self.parameter {
            Some(node) if !segment.is_empty() => node.find(rest),
            _ => None,
        };
        let below = || (!self.below.is_empty()).then_some(Entries(&[], &self.below));
        literal.or_else(parameter).or_else(below)
    }
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Self { literal: HashMap::new(), parameter: None, here: Vec::new(), below: Vec::new() }
    }
}

/// The routes for one path: those that name it, then those that it lies below.
struct Entries<'t, T>(&'t [Entry<T>], &'t [Entry<T>]);

impl<T> Entries<'_, T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty() && self.1.is_empty()
    }
}

fn choose<'t, 'p, T>(entries: Entries<'t, T>, method: &Method, path: &'p str) -> Match<'t, 'p, T> {
    let takes = |method: &Method, entries: &'t [Entry<T>]| {
        entries.iter().find(|entry| entry.methods.is_empty() || entry.methods.contains(method))
    };
    for entries in [entries.0, entries.1] {
        let instead = || takes(&Method::GET, entries).filter(|_| method == Method::HEAD);
        if let Some(entry) = takes(method, entries).or_else(instead) {
            return Match::Found { target: &entry.target, base: first(path, entry.depth) };
        }
    }
    let mut allowed: Vec<Method> = Vec::new();
    for method in entries.0.iter().chain(entries.1).flat_map(|entry| &entry.methods) {
        if !allowed.contains(method) {
            allowed.push(method.clone());
        }
    }
    if allowed.contains(&Method::GET) && !allowed.contains(&Method::HEAD) {
        allowed.push(Method::HEAD);
    }
    Match::MethodNotAllowed(allowed)
}

/// The first `depth` segments of a path.
fn first(path: &str, depth: usize) -> &str {
    path.match_indices('/').nth(depth).map_or(path, |(end, _)| &path[..end])
}

/// The host in lower case, without a port. `[::1]:80` keeps its brackets.
fn normal_host(host: &str) -> std::borrow::Cow<'_, str> {
    let bare = match host.rsplit_once(':') {
        Some((bare, port)) if port.bytes().all(|b| b.is_ascii_digit()) => bare,
        _ => host,
    };
    match bare.bytes().any(|byte| byte.is_ascii_uppercase()) {
        true => bare.to_ascii_lowercase().into(),
        false => bare.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn route(host: Option<&str>, path: &str, methods: &[Method]) -> Route {
        Route { host: host.map(str::to_owned), path: path.to_owned(), methods: methods.to_vec() }
    }

    fn table(routes: &[(Route, &'static str)]) -> RouteTable<&'static str> {
        RouteTable::new(routes.iter().map(|(route, target)| (std::slice::from_ref(route), *target)))
    }

    fn shape(path: &str) -> String {
        let shape = |segment| if is_parameter(segment) { "{}" } else { segment };
        path.split('/').map(shape).collect::<Vec<_>>().join("/")
    }

    fn found(table: &RouteTable<&'static str>, host: &str, path: &str) -> &'static str {
        match table.find(Some(host), &Method::GET, path) {
            Match::Found { target, .. } => target,
            Match::MethodNotAllowed(_) => "405",
            Match::None => "404",
        }
    }

    #[test]
    fn the_more_literal_path_wins() {
        let table = table(&[
            (route(None, "/*", &[]), "root"),
            (route(None, "/a/*", &[]), "prefix"),
            (route(None, "/a/{x}", &[]), "parameter"),
            (route(None, "/a/b", &[]), "exact"),
            (route(None, "/a/{x}/c", &[]), "inner"),
        ]);
        for (path, target) in [
            ("/a/b", "exact"),
            ("/a/x", "parameter"),
            ("/a/b/c", "inner"),
            ("/a/b/d", "prefix"),
            ("/a", "prefix"),
            ("/a/", "prefix"),
            ("/ab", "root"),
            ("/", "root"),
        ] {
            assert_eq!(found(&table, "h", path), target, "{path}");
        }
    }

    #[test]
    fn the_very_host_comes_before_a_suffix_and_that_before_any() {
        let table = table(&[
            (route(None, "/", &[]), "any"),
            (route(Some("*.example.com"), "/", &[]), "suffix"),
            (route(Some("*.b.example.com"), "/", &[]), "longer"),
            (route(Some("A.example.com"), "/", &[]), "very"),
            (route(Some("a.example.com"), "/only", &[]), "only"),
        ]);
        for (host, target) in [
            ("a.example.com", "very"),
            ("A.EXAMPLE.COM:8080", "very"),
            ("x.example.com", "suffix"),
            ("x.b.example.com", "longer"),
            ("example.com", "any"),
            ("[::1]:80", "any"),
        ] {
            assert_eq!(found(&table, host, "/"), target, "{host}");
        }
        assert_eq!(found(&table, "x.example.com", "/only"), "404");
    }

    #[test]
    fn methods_share_a_path() {
        let table = table(&[
            (route(None, "/a", &[Method::GET]), "get"),
            (route(None, "/a", &[Method::POST]), "post"),
            (route(None, "/b/*", &[]), "all"),
            (route(None, "/b", &[Method::GET]), "get"),
        ]);
        let at = |method, path: &'static str| table.find(None, &method, path);
        assert!(matches!(at(Method::POST, "/a"), Match::Found { target: &"post", .. }));
        assert!(matches!(at(Method::HEAD, "/a"), Match::Found { target: &"get", .. }));
        let allowed = vec![Method::GET, Method::POST, Method::HEAD];
        assert_eq!(at(Method::PUT, "/a"), Match::MethodNotAllowed(allowed));
        assert!(matches!(at(Method::PUT, "/b"), Match::Found { target: &"all", base: "/b" }));
    }

    #[test]
    fn head_goes_to_whom_it_was_declared_for() {
        let table = table(&[
            (route(None, "/a", &[Method::GET]), "get"),
            (route(None, "/a", &[Method::HEAD]), "head"),
            (route(None, "/b", &[Method::GET]), "get"),
            (route(None, "/b/*", &[]), "all"),
        ]);
        let at = |path: &'static str| table.find(None, &Method::HEAD, path);
        assert!(matches!(at("/a"), Match::Found { target: &"head", .. }));
        assert!(matches!(at("/b"), Match::Found { target: &"get", .. }));
    }

    #[test]
    fn the_base_is_what_the_route_took() {
        let table = table(&[
            (route(None, "/*", &[]), "root"),
            (route(None, "/a/", &[]), "slash"),
            (route(None, "/u/{id}", &[]), "parameter"),
            (route(None, "/u/{id}/*", &[]), "below"),
        ]);
        for (path, took) in [
            ("/", ""),
            ("/x/y", ""),
            ("/a/", "/a/"),
            ("/u/7", "/u/7"),
            ("/u/7/", "/u/7"),
            ("/u/7/x//y", "/u/7"),
        ] {
            match table.find(None, &Method::GET, path) {
                Match::Found { base, .. } => assert_eq!(base, took, "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }

    #[test]
    fn only_equal_rights_conflict() {
        let owner = FunctionName::parse("owner").unwrap();
        let new = FunctionName::parse("new").unwrap();
        let conflicts = |theirs: Route, ours: Route| {
            let theirs = [theirs];
            check([(&owner, &theirs[..])].into_iter(), &new, &[ours], Reach::Everywhere).is_err()
        };
        assert!(conflicts(route(None, "/a", &[]), route(None, "/a", &[Method::GET])));
        assert!(conflicts(route(None, "/u/{id}", &[]), route(None, "/u/{name}", &[])));
        assert!(conflicts(route(Some("H"), "/", &[]), route(Some("h"), "/", &[])));
        assert!(!conflicts(route(None, "/a", &[Method::GET]), route(None, "/a", &[Method::PUT])));
        assert!(!conflicts(route(None, "/a", &[]), route(None, "/a/*", &[])));
        assert!(!conflicts(route(None, "/a", &[]), route(Some("h"), "/a", &[])));
        let same = [route(None, "/a", &[])];
        assert_eq!(check([(&new, &same[..])].into_iter(), &new, &same, Reach::Namespace), Ok(()));
    }

    /// How literal a segment of a route is, or that it does not fit.
    fn fit(route: &[&str], path: &[&str]) -> Option<Vec<u8>> {
        match (route, path) {
            ([], []) => Some(vec![]),
            (["*"], _) => Some(vec![2]),
            ([r, routes @ ..], [p, paths @ ..]) => {
                let rank = if r == p {
                    0
                } else if r.starts_with('{') && !p.is_empty() {
                    1
                } else {
                    return None;
                };
                let mut rest = fit(routes, paths)?;
                rest.insert(0, rank);
                Some(rest)
            }
            _ => None,
        }
    }

    #[test]
    fn a_namespace_takes_no_calls_of_another_by_a_longer_path_or_a_host() {
        let (owner, new) =
            (FunctionName::parse("pay").unwrap(), FunctionName::parse("thief.shop").unwrap());
        let said = |theirs: &Route, ours: Route, reach| {
            check([(&owner, std::slice::from_ref(theirs))].into_iter(), &new, &[ours], reach)
        };
        let theirs = route(None, "/pay/*", &[]);
        for ours in [
            route(None, "/pay/card", &[]),
            route(None, "/pay", &[]),
            route(None, "/*", &[]),
            route(None, "/{x}/card", &[]),
            route(None, "/pay/card", &[Method::DELETE]),
            route(Some("example.com"), "/pay/card", &[]),
            route(Some("*.example.com"), "/pay/*", &[]),
        ] {
            let refused = said(&theirs, ours.clone(), Reach::Namespace).unwrap_err();
            assert_eq!(refused.theirs, "/pay/*", "{ours:?}");
            said(&theirs, ours, Reach::Everywhere).unwrap();
        }
        for ours in [route(None, "/payments", &[]), route(Some("example.com"), "/", &[])] {
            said(&theirs, ours, Reach::Namespace).unwrap();
        }
        let hosted = route(Some("*.example.com"), "/", &[]);
        said(&hosted, route(Some("example.com"), "/", &[]), Reach::Namespace).unwrap();
        said(&hosted, route(Some("a.example.com"), "/", &[]), Reach::Namespace).unwrap_err();
        said(&hosted, route(Some("*.b.example.com"), "/", &[]), Reach::Namespace).unwrap_err();
        said(&hosted, route(Some("example.org"), "/", &[]), Reach::Namespace).unwrap();
    }

    proptest! {
        #[test]
        fn finds_what_a_naive_search_finds(
            routes in prop::collection::btree_set("(/(a|b|\\{x\\})){1,3}(/\\*)?", 1..8),
            path in "(/(a|b|c)){1,4}",
        ) {
            let mut shapes = std::collections::BTreeSet::new();
            let routes: Vec<_> =
                routes.into_iter().filter(|route| shapes.insert(shape(route))).collect();
            let declared: Vec<_> = routes.iter().map(|path| route(None, path, &[])).collect();
            let table = RouteTable::new(
                declared.iter().map(|route| (std::slice::from_ref(route), route.path.clone())),
            );
            let segments: Vec<_> = path.split('/').skip(1).collect();
            let naive = routes
                .iter()
                .filter_map(|route| {
                    let parts: Vec<_> = route.split('/').skip(1).collect();
                    fit(&parts, &segments).map(|rank| (rank, route))
                })
                .min();
            match (table.find(None, &Method::GET, &path), naive) {
                (Match::Found { target, .. }, Some((_, route))) => prop_assert_eq!(target, route),
                (Match::None, None) => {}
                (found, naive) => prop_assert!(false, "{:?} but {:?}", found, naive),
            }
        }
    }
}
