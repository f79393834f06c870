//! What goes wrong with TLS, by kind.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error};
use serde::{Deserialize, Serialize};

/// What is wrong with a connection's TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TlsFault {
    CertificateExpired,
    CertificateNotYetValid,
    UnknownIssuer,
    WrongName,
    CertificateRevoked,
    CertificateInvalid,
    /// The server has sent an alert, with this number.
    Alert(u8),
    NotTls,
    Incompatible,
    Misbehaved,
    NotDecrypted,
    Other,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CertificateExpired => "the certificate has expired",
            Self::CertificateNotYetValid => "the certificate is not valid yet",
            Self::UnknownIssuer => "the certificate has an unknown issuer",
            Self::WrongName => "the certificate is for another name",
            Self::CertificateRevoked => "the certificate was revoked",
            Self::CertificateInvalid => "the certificate is invalid",
            Self::Alert(number) => return alert(*number, f),
            Self::NotTls => "the server does not speak TLS",
            Self::Incompatible => "nothing that both sides support",
            Self::Misbehaved => "the server breaks the protocol",
            Self::NotDecrypted => "a record cannot be decrypted",
            Self::Other => "another fault",
        })
    }
}

/// The name of an alert as RFC 8446 section 6 has it, but in words, and its number.
fn alert(number: u8, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("alert from the server:")?;
    let name = match AlertDescription::from(number) {
        AlertDescription::Unknown(_) => "Unknown".into(),
        known => format!("{known:?}"),
    };
    for (place, letter) in name.char_indices() {
        if letter.is_uppercase() && (place == 0 || !name[..place].ends_with(char::is_uppercase)) {
            f.write_str(" ")?;
        }
        write!(f, "{}", letter.to_ascii_lowercase())?;
    }
    write!(f, " ({number})")
}

impl From<Error> for TlsFault {
    fn from(error: Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    Self::CertificateExpired
                }
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    Self::CertificateNotYetValid
                }
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::Revoked => Self::CertificateRevoked,
                _ => Self::CertificateInvalid,
            },
            Error::AlertReceived(alert) => Self::Alert(alert.into()),
            Error::InvalidMessage(_) => Self::NotTls,
            Error::PeerIncompatible(_) | Error::NoApplicationProtocol => Self::Incompatible,
            Error::PeerMisbehaved(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Misbehaved,
            Error::DecryptError => Self::NotDecrypted,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_are_named_in_words() {
        assert_eq!(
            TlsFault::Alert(40).to_string(),
            "alert from the server: handshake failure (40)"
        );
        assert_eq!(TlsFault::Alert(48).to_string(), "alert from the server: unknown ca (48)");
        assert_eq!(TlsFault::Alert(222).to_string(), "alert from the server: unknown (222)");
    }
}
