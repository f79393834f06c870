//! The lexical rules of RFC 9110 section 5.6 that several files share: tokens, optional white
//! space and comma-separated lists.

/// RFC 9110 5.6.2: `tchar`.
pub(super) fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// RFC 9110 5.6.2: a token, which is never empty.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().copied().all(is_token_byte)
}

/// The bytes as text if they are a token: all of its characters are ASCII.
pub(super) fn token(bytes: &[u8]) -> Option<&str> {
    is_token(bytes).then(|| str::from_utf8(bytes).ok()).flatten()
}

/// RFC 9110 5.6.3: removes optional white space, which is spaces and tabs and nothing else.
pub(super) fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = bytes {
        bytes = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = bytes {
        bytes = rest;
    }
    bytes
}

/// RFC 9110 5.6.1.2: the elements of a list, without the empty ones a recipient must ignore.
///
/// Only for lists whose elements cannot hold a quoted comma.
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// A whole number of digits and nothing else, so neither `+5` nor ` 5`; `None` if it overflows.
pub(super) fn decimal(bytes: &[u8]) -> Option<u64> {
    if bytes.is_empty() {
        return None;
    }
    bytes.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_empty_and_holds_no_delimiter() {
        assert!(is_token(b"chat.v2!#$%&'*+-^_`|~"));
        for bytes in [&b""[..], b"a b", b"a/b", b"a\"", b"a,b", b"\x7f", b"\xc3\xa9", b"a\0"] {
            assert!(!is_token(bytes), "{bytes:?}");
        }
    }

    #[test]
    fn list_elements_are_trimmed_and_empty_ones_ignored() {
        let found: Vec<_> = elements(b",, a ,\tb\t, ,c").collect();
        assert_eq!(found, [b"a", b"b", b"c"]);
    }

    #[test]
    fn decimal_takes_digits_only_and_does_not_overflow() {
        assert_eq!(decimal(b"0018446744073709551615"), Some(u64::MAX));
        for bytes in [&b""[..], b"+5", b"-5", b" 5", b"5 ", b"0x5", b"18446744073709551616"] {
            assert_eq!(decimal(bytes), None, "{bytes:?}");
        }
    }
}
