//! How times, sizes, rates and numbers are written by people, and written for them.

use std::{num::NonZeroUsize, time::Duration};

/// A size in bytes: `16k` is 16 KiB.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let number = scaled(text, 1024.0).ok_or("not a size such as 20, 16k or 1m")?;
    Ok(number as usize)
}

/// A number per second: `20k` is 20,000.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    let number = scaled(text, 1000.0).filter(|rate| *rate > 0.0);
    number.ok_or_else(|| "not a rate such as 500, 20k or 1.5m".into())
}

/// A size per second: `16k` is 16 KiB.
pub(crate) fn bytes_per_second(text: &str) -> Result<f64, String> {
    let number = scaled(text, 1024.0).filter(|rate| *rate >= 1.0);
    number.ok_or_else(|| "not a size such as 500, 16k or 1m".into())
}

/// A number of things: `10k` is 10,000.
pub(crate) fn number(text: &str) -> Result<f64, String> {
    scaled(text, 1000.0).ok_or_else(|| "not a number such as 0, 500 or 20k".into())
}

/// At least one thing, and no part of one: `10k` is 10,000.
pub(crate) fn quantity(text: &str) -> Result<NonZeroUsize, String> {
    let number = scaled(text, 1000.0).filter(|number| number.fract() == 0.0);
    let number = number.and_then(|number| NonZeroUsize::new(number as usize));
    number.ok_or_else(|| "not a number such as 1, 500 or 20k".into())
}

/// A number with a unit of which the second is the square of the first, and so on.
fn scaled(text: &str, unit: f64) -> Option<f64> {
    let (digits, power) = match text.as_bytes().last()?.to_ascii_lowercase() {
        b'k' => (&text[..text.len() - 1], 1),
        b'm' => (&text[..text.len() - 1], 2),
        b'g' => (&text[..text.len() - 1], 3),
        _ => (text, 0),
    };
    let number: f64 = digits.parse().ok()?;
    let value = number * unit.powi(power);
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// A time with its unit: `1m 30s`.
pub(crate) fn read_time(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    humantime::parse_duration(text).map_err(|_| "not a time such as 500ms, 10s or 2m".into())
}

/// A time that is not zero.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    read_time(text).and_then(|time| match time.is_zero() {
        true => Err("give a time above zero".into()),
        false => Ok(time),
    })
}

/// Three digits and a unit.
pub(crate) fn time(time: Duration) -> String {
    let nanos = time.as_nanos() as f64;
    let (value, unit) = match nanos {
        _ if nanos < 1e3 => (nanos, "ns"),
        _ if nanos < 1e6 => (nanos / 1e3, "us"),
        _ if nanos < 1e9 => (nanos / 1e6, "ms"),
        _ => (nanos / 1e9, "s"),
    };
    let digits = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
    format!("{value:.digits$} {unit}")
}

/// A share in percent, with two digits that say something.
pub(crate) fn percent(share: f64) -> String {
    let percent = 100.0 * share;
    let digits = if percent < 1.0 { 2 } else { usize::from(percent < 10.0) };
    format!("{percent:.digits$} %")
}

/// A number with its thousands apart.
pub(crate) fn count(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of things.
pub(crate) fn plural(number: usize, noun: &str) -> String {
    let (stem, ending) = match (number, noun.strip_suffix('y')) {
        (1, _) => (noun, ""),
        (_, Some(stem)) => (stem, "ies"),
        (_, None) if noun.ends_with('s') => (noun, "es"),
        (_, None) => (noun, "s"),
    };
    format!("{} {stem}{ending}", count(number as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_count_in_1024_and_rates_in_1000() {
        assert_eq!(size("20"), Ok(20));
        assert_eq!(size("16k"), Ok(16_384));
        assert_eq!(rate("1.5M"), Ok(1_500_000.0));
        for wrong in ["", "k", "-1", "1x", "NaN", "inf"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
        assert!(rate("0").is_err());
        assert_eq!(quantity("10k").map(NonZeroUsize::get), Ok(10_000));
        for wrong in ["0", "1.5", "-1", "x"] {
            assert!(quantity(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_are_short_and_have_units() {
        let shown = |nanos| time(Duration::from_nanos(nanos));
        assert_eq!(shown(999), "999 ns");
        assert_eq!(shown(1_234), "1.23 us");
        assert_eq!(shown(56_789_000), "56.8 ms");
        assert_eq!(shown(2_000_000_000), "2.00 s");
        assert_eq!(count(1_234_567.0), "1,234,567");
        assert_eq!(count(12.0), "12");
        assert_eq!(plural(1, "thread"), "1 thread");
    }
}
