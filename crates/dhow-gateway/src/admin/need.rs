//! What each request of the API needs. Decided by method and path alone; what has no rule here
//! needs everything.

use dhow_core::name::Label;
use dhow_core::token::{Place, Scope};
use http::Method;

/// What a request needs of its sender.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing: those who watch over the server ask for it.
    Nothing,
    /// Any credentials that hold.
    Credentials,
    /// A grant of this scope.
    Grant(Scope, Where),
}

/// Where the request does something; see [`Place`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Where {
    Namespace(Label),
    Somewhere,
    Everywhere,
}

impl Where {
    pub(super) fn as_place(&self) -> Place<'_> {
        match self {
            Self::Namespace(namespace) => Place::Namespace(namespace),
            Self::Somewhere => Place::Somewhere,
            Self::Everywhere => Place::Everywhere,
        }
    }
}

impl Need {
    /// The path as it was sent: one that hides a namespace behind percent signs has no rule.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        let segments: Vec<&str> = path.split('/').skip(1).collect();
        match segments[..] {
            ["healthz" | "readyz"] => Self::Nothing,
            ["api", "v1", "version" | "openapi.json"] => Self::Credentials,
            // What they answer is of the namespaces alone that the sender may see.
            ["api", "v1", "functions" | "quotas" | "stats"] if reads => {
                Self::Grant(Scope::Read, Where::Somewhere)
            }
            // Code that no function has is of no namespace yet.
            ["api", "v1", "artifacts"] => Self::Grant(Scope::Deploy, Where::Somewhere),
            // Whose they are is asked where they are found.
            ["api", "v1", "calls", ..] => {
                let scope = if reads { Scope::Read } else { Scope::Deploy };
                Self::Grant(scope, Where::Somewhere)
            }
            // Whoever could set their own would have none.
            ["api", "v1", "namespaces", _, "quota"] if !reads => Self::EVERYTHING,
            ["api", "v1", "namespaces", namespace, _, ..] => match namespace.parse() {
                Ok(namespace) => {
                    let scope = if reads { Scope::Read } else { Scope::Deploy };
                    Self::Grant(scope, Where::Namespace(namespace))
                }
                Err(_) => Self::EVERYTHING,
            },
            _ => Self::EVERYTHING,
        }
    }

    const EVERYTHING: Self = Self::Grant(Scope::Admin, Where::Everywhere);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_rule_needs_everything() {
        let shop = || Where::Namespace("shop".parse().unwrap());
        for (method, path, need) in [
            ("GET", "/healthz", Need::Nothing),
            ("GET", "/readyz", Need::Nothing),
            ("GET", "/api/v1/version", Need::Credentials),
            ("GET", "/api/v1/functions", Need::Grant(Scope::Read, Where::Somewhere)),
            ("GET", "/api/v1/stats", Need::Grant(Scope::Read, Where::Somewhere)),
            ("GET", "/api/v1/audit", Need::EVERYTHING),
            ("POST", "/api/v1/functions", Need::EVERYTHING),
            ("POST", "/api/v1/artifacts", Need::Grant(Scope::Deploy, Where::Somewhere)),
            ("GET", "/api/v1/calls", Need::Grant(Scope::Read, Where::Somewhere)),
            ("POST", "/api/v1/calls/0/retry", Need::Grant(Scope::Deploy, Where::Somewhere)),
            ("GET", "/api/v1/namespaces/shop/functions/a", Need::Grant(Scope::Read, shop())),
            ("HEAD", "/api/v1/namespaces/shop/functions/a", Need::Grant(Scope::Read, shop())),
            ("PUT", "/api/v1/namespaces/shop/functions/a", Need::Grant(Scope::Deploy, shop())),
            ("DELETE", "/api/v1/namespaces/shop/functions/a", Need::Grant(Scope::Deploy, shop())),
            ("PATCH", "/api/v1/namespaces/shop/functions/a", Need::Grant(Scope::Deploy, shop())),
            ("GET", "/api/v1/namespaces/%73hop/functions/a", Need::EVERYTHING),
            ("GET", "/api/v1/namespaces/shop", Need::EVERYTHING),
            ("GET", "/api/v1/namespaces//functions/a", Need::EVERYTHING),
            ("GET", "/api/v1/quotas", Need::Grant(Scope::Read, Where::Somewhere)),
            ("GET", "/api/v1/namespaces/shop/quota", Need::Grant(Scope::Read, shop())),
            ("PUT", "/api/v1/namespaces/shop/quota", Need::EVERYTHING),
            ("DELETE", "/api/v1/namespaces/shop/quota", Need::EVERYTHING),
            ("GET", "/api/v1/tokens", Need::EVERYTHING),
            ("GET", "/api/v2/functions", Need::EVERYTHING),
            ("GET", "//healthz", Need::EVERYTHING),
            ("GET", "/", Need::EVERYTHING),
            ("GET", "*", Need::EVERYTHING),
        ] {
            let method = method.parse().unwrap();
            assert_eq!(Need::of(&method, path), need, "{method} {path}");
        }
    }
}
