//! What the functions of one namespace may use together.

use std::collections::BTreeMap;

use crate::name::Label;

/// The quota of one namespace; `None` is no bound of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    /// Functions that are deployed.
    pub functions: Option<u32>,
    /// Bytes that the memories and tables of its live instances hold together.
    pub memory: Option<u64>,
    /// Thousandths of a core that its calls may use together, as a rate.
    pub cpu_millis: Option<u32>,
    /// Calls in flight, those that wait for a place included.
    pub calls: Option<u32>,
}

/// Quotas by namespace.
pub type Quotas = BTreeMap<Label, Quota>;

/// What the instances of a namespace use now, as far as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Calls in flight.
    pub calls: u32,
    /// Bytes of memories and tables.
    pub memory: u64,
}

/// A namespace may have no more functions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the namespace `{namespace}` may have {most} functions, and has {present}")]
pub struct TooManyFunctions {
    /// Which namespace.
    pub namespace: Label,
    /// How many it may have.
    pub most: u32,
    /// How many it has.
    pub present: usize,
}

/// Whether `namespace`, which has `present` functions, may have another one.
///
/// # Errors
/// When its quota says no.
pub fn check_functions(
    quotas: &Quotas,
    namespace: &Label,
    present: usize,
) -> Result<(), TooManyFunctions> {
    match quotas.get(namespace).and_then(|quota| quota.functions) {
        Some(most) if present >= most as usize => {
            Err(TooManyFunctions { namespace: namespace.clone(), most, present })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_is_refused_where_a_quota_says_so() {
        let (shop, free): (Label, Label) = ("shop".parse().unwrap(), "free".parse().unwrap());
        let quota = Quota { functions: Some(2), ..Quota::default() };
        let quotas = Quotas::from([(shop.clone(), quota), (free.clone(), Quota::default())]);
        assert!(check_functions(&quotas, &shop, 1).is_ok());
        let refused = check_functions(&quotas, &shop, 2).unwrap_err();
        assert_eq!(refused.to_string(), "the namespace `shop` may have 2 functions, and has 2");
        assert!(check_functions(&quotas, &shop, 3).is_err());
        assert!(check_functions(&quotas, &free, 1000).is_ok());
        assert!(check_functions(&Quotas::new(), &shop, 1000).is_ok());
    }
}
