//! The request methods this server knows, and sets of them as `Allow` lists them.

use std::fmt;

use ::http::{HeaderValue, Method};

/// The methods that are known, in the order in which `Allow` lists them. CONNECT, the ninth of
/// RFC 9110 9.3 and RFC 5789, is missing: a server that is no proxy does not implement it.
pub(super) const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::PATCH,
    Method::OPTIONS,
    Method::TRACE,
];

/// A set of methods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Methods {
    /// One bit for each of [`METHODS`], by its index.
    bits: u8,
}

impl Methods {
    /// Every method that is known.
    pub const ALL: Self = Self { bits: u8::MAX };

    /// This set and one method more; an unknown method is left out.
    #[must_use]
    pub fn with(self, method: &Method) -> Self {
        let index = METHODS.iter().position(|known| known == method);
        Self { bits: self.bits | index.map_or(0, |index| 1 << index) }
    }

    /// This set and another.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self { bits: self.bits | other.bits }
    }

    /// Whether the method is in the set.
    #[must_use]
    pub fn contains(self, method: &Method) -> bool {
        self.iter().any(|member| member == *method)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// The methods in the order of `Allow`.
    pub fn iter(self) -> impl Iterator<Item = Method> {
        let is_member = move |index: usize| self.bits & (1 << index) != 0;
        METHODS.into_iter().enumerate().filter(move |(index, _)| is_member(*index)).map(|(_, m)| m)
    }

    /// The value of an `Allow` header (RFC 9110 10.2.1).
    #[must_use]
    pub fn header_value(self) -> HeaderValue {
        HeaderValue::try_from(self.to_string()).expect("the names of methods are tokens")
    }
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, method) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            write!(f, "{separator}{method}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_lists_its_members_in_the_order_of_allow() {
        let set = Methods::default().with(&Method::OPTIONS).with(&Method::GET);
        assert_eq!(set.to_string(), "GET, OPTIONS");
        assert!(set.contains(&Method::GET) && !set.contains(&Method::PUT));
        assert_eq!(Methods::ALL.iter().count(), METHODS.len());
    }

    #[test]
    fn an_unknown_method_is_never_a_member() {
        assert!(Methods::default().with(&Method::CONNECT).is_empty());
        assert!(!Methods::ALL.contains(&Method::CONNECT));
    }
}
