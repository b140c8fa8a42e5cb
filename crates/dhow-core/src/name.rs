//! Names of functions and namespaces.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The namespace of whoever names none.
pub const DEFAULT_NAMESPACE: &str = "default";

/// A DNS label (RFC 1123): 1 to 63 of `a-z`, `0-9` and `-`, neither first nor last a `-`.
/// Kubernetes' rule, so that a function keeps its name on a cluster.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Label(Arc<str>);

/// Why a text is not a [`Label`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadLabel {
    /// Empty, or over 63 bytes.
    #[error("a name has 1 to 63 characters, this one has {0}")]
    Length(usize),
    /// A character that a DNS label may not hold, or not there.
    #[error("a name holds a-z, 0-9 and, inside, `-`; `{0}` is not allowed there")]
    Character(char),
}

/// A function's full name, `NAME.NAMESPACE`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FunctionName {
    /// Where the function lives.
    pub namespace: Label,
    /// What it is called there.
    pub name: Label,
}

impl Label {
    /// The namespace of whoever names none.
    pub fn default_namespace() -> Self {
        Self(Arc::from(DEFAULT_NAMESPACE))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FunctionName {
    /// Reads `NAME` or `NAME.NAMESPACE`.
    ///
    /// # Errors
    /// When either part is not a label.
    pub fn parse(text: &str) -> Result<Self, BadLabel> {
        match text.split_once('.') {
            Some((name, namespace)) => {
                Ok(Self { namespace: namespace.parse()?, name: name.parse()? })
            }
            None => Ok(Self { namespace: Label::default_namespace(), name: text.parse()? }),
        }
    }
}

impl FromStr for Label {
    type Err = BadLabel;

    fn from_str(text: &str) -> Result<Self, BadLabel> {
        let length = text.chars().count();
        if !(1..=63).contains(&length) {
            return Err(BadLabel::Length(length));
        }
        for (index, c) in text.chars().enumerate() {
            let inside = index != 0 && index + 1 != length;
            if !(c.is_ascii_lowercase() || c.is_ascii_digit() || (c == '-' && inside)) {
                return Err(BadLabel::Character(c));
            }
        }
        Ok(Self(Arc::from(text)))
    }
}

impl Borrow<str> for Label {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl fmt::Display for FunctionName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_dns_label() {
        for right in ["a", "a-b", "0", &"a".repeat(63)] {
            assert_eq!(right.parse::<Label>().unwrap().as_str(), right);
        }
        assert_eq!("".parse::<Label>(), Err(BadLabel::Length(0)));
        assert_eq!("a".repeat(64).parse::<Label>(), Err(BadLabel::Length(64)));
        for (wrong, c) in [("A", 'A'), ("-a", '-'), ("a-", '-'), ("a.b", '.'), ("a/..", '/')] {
            assert_eq!(wrong.parse::<Label>(), Err(BadLabel::Character(c)), "{wrong}");
        }
    }

    #[test]
    fn a_function_is_named_with_or_without_its_namespace() {
        let plain = FunctionName::parse("hello").unwrap();
        assert_eq!(plain.to_string(), "hello.default");
        assert_eq!(FunctionName::parse("hello.default").unwrap(), plain);
        assert!(FunctionName::parse("hello.a.b").is_err());
    }
}
