//! Values of the options that say which web pages may reach the server.

use std::str::FromStr;

use wireloop::http::{Host, Hosts, InvalidHost, InvalidOrigin, Origin, Origins};

/// A value of `--origin`.
#[derive(Clone, Debug)]
pub(crate) enum AllowedOrigin {
    /// `same`: the host and port that the request names.
    SameHost,
    /// This one.
    Listed(Origin),
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "same" {
            return Ok(Self::SameHost);
        }
        let listed = text.parse().map(Self::Listed);
        listed.map_err(|error: InvalidOrigin| format!("{error}; or it is `same`"))
    }
}

/// The origins that `--origin` lists; all if it is not given.
pub(crate) fn origins(allowed: &[AllowedOrigin]) -> Origins {
    if allowed.is_empty() {
        return Origins::any();
    }
    let mut listed = Vec::new();
    let mut has_same_host = false;
    for origin in allowed {
        match origin {
            AllowedOrigin::SameHost => has_same_host = true,
            AllowedOrigin::Listed(origin) => listed.push(origin.clone()),
        }
    }
    let origins = Origins::from(listed);
    if has_same_host { origins.or_same_host() } else { origins }
}

/// A value of `--host`.
#[derive(Clone, Debug)]
pub(crate) enum AllowedHost {
    /// `*`: all.
    Any,
    /// This one.
    Listed(Host),
}

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let listed = text.parse().map(Self::Listed);
        listed.map_err(|error: InvalidHost| format!("{error}; or it is * for all"))
    }
}

/// The hosts that `--host` lists; `None` for the library's default if it is not given.
pub(crate) fn hosts(allowed: &[AllowedHost]) -> Option<Hosts> {
    if allowed.is_empty() {
        return None;
    }
    let listed = allowed.iter().map(|host| match host {
        AllowedHost::Any => None,
        AllowedHost::Listed(host) => Some(host.clone()),
    });
    let listed: Option<Vec<_>> = listed.collect();
    Some(listed.map_or_else(Hosts::any, Hosts::from))
}
