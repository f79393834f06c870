//! Values of the options that say which web pages may reach the server.

use std::str::FromStr;

use wireloop::http::{InvalidOrigin, Origin, Origins};

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
