//! The Range header (RFC 9110 section 14.1): one range of bytes is served, anything else is
//! answered as if the header were not there, which 14.2 allows and which keeps a request for a
//! thousand overlapping ranges from costing more than the file (CVE-2011-3192).

use crate::http::syntax::trim;

/// What a Range header selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Range {
    /// The header does not apply.
    Whole,
    /// These bytes, at least one.
    Part { start: u64, length: u64 },
    /// Valid, but there are no such bytes.
    Unsatisfiable,
}

/// Applies a Range header to a representation of `total` bytes.
pub(super) fn select(header: &[u8], total: u64) -> Range {
    match parse(header) {
        None => Range::Whole,
        Some(Spec::Suffix { length: 0 }) => Range::Unsatisfiable,
        // The last bytes of nothing are satisfiable, but 206 cannot express them.
        Some(Spec::Suffix { .. }) if total == 0 => Range::Whole,
        Some(Spec::Suffix { length }) => {
            let length = length.min(total);
            Range::Part { start: total - length, length }
        }
        Some(Spec::From { first, .. }) if first >= total => Range::Unsatisfiable,
        Some(Spec::From { first, last }) => {
            Range::Part { start: first, length: last.min(total - 1) - first + 1 }
        }
    }
}

/// RFC 9110 14.1.2: `int-range` and `suffix-range`.
enum Spec {
    /// `first <= last`; an open end is the largest number.
    From {
        first: u64,
        last: u64,
    },
    Suffix {
        length: u64,
    },
}

/// `None` for another unit, several ranges, or a syntax error.
fn parse(header: &[u8]) -> Option<Spec> {
    let (unit, set) = header.split_at_checked(b"bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let range = trim(set);
    let dash = range.iter().position(|&byte| byte == b'-')?;
    match (&range[..dash], &range[dash + 1..]) {
        (b"", length) => Some(Spec::Suffix { length: position(length)? }),
        (first, b"") => Some(Spec::From { first: position(first)?, last: u64::MAX }),
        (first, last) => {
            let (first, last) = (position(first)?, position(last)?);
            (first <= last).then_some(Spec::From { first, last })
        }
    }
}

/// A number of any length. One that does not fit is beyond the end of every file, and the
/// largest number says the same.
fn position(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let append =
        |number: u64, digit: &u8| number.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(digits.iter().fold(0, append))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(start: u64, length: u64) -> Range {
        Range::Part { start, length }
    }

    #[test]
    fn one_range_selects_its_bytes() {
        assert_eq!(select(b"bytes=0-0", 10), part(0, 1));
        assert_eq!(select(b"BYTES=2-5", 10), part(2, 4));
        assert_eq!(select(b"bytes=9-", 10), part(9, 1));
        assert_eq!(select(b"bytes= 0-9 ", 10), part(0, 10));
    }

    #[test]
    fn an_end_beyond_the_file_is_its_end() {
        assert_eq!(select(b"bytes=5-99999999999999999999999", 10), part(5, 5));
        assert_eq!(select(b"bytes=0-18446744073709551615", u64::MAX), part(0, u64::MAX));
    }

    #[test]
    fn a_suffix_selects_the_last_bytes() {
        assert_eq!(select(b"bytes=-3", 10), part(7, 3));
        assert_eq!(select(b"bytes=-99999999999999999999999", 10), part(0, 10));
        assert_eq!(select(b"bytes=-0", 10), Range::Unsatisfiable);
    }

    #[test]
    fn a_start_beyond_the_file_is_unsatisfiable() {
        assert_eq!(select(b"bytes=10-", 10), Range::Unsatisfiable);
        assert_eq!(select(b"bytes=99999999999999999999-", 10), Range::Unsatisfiable);
        assert_eq!(select(b"bytes=0-0", 0), Range::Unsatisfiable);
    }

    #[test]
    fn the_last_bytes_of_an_empty_file_are_the_whole_file() {
        assert_eq!(select(b"bytes=-5", 0), Range::Whole);
    }

    #[test]
    fn several_ranges_other_units_and_syntax_errors_are_ignored() {
        let headers: [&[u8]; 12] = [
            b"bytes=0-0,2-3",
            b"bytes=0-0,",
            b"bytes=",
            b"bytes=-",
            b"bytes=5-2",
            b"bytes=+1-2",
            b"bytes=1-2-3",
            b"bytes=a-b",
            b"bytes 0-1",
            b"lines=0-1",
            b"",
            b"bytes=0x1-",
        ];
        for header in headers {
            assert_eq!(select(header, 10), Range::Whole, "{}", header.escape_ascii());
        }
    }
}
