//! The addresses from which connections come: a list of single ones, ranges and networks, each of
//! which has to be one that this machine has.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// More than this is a mistake.
const SOURCES_MAX: u128 = 65_536;

/// Source addresses, by family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sources {
    ipv4: Vec<IpAddr>,
    ipv6: Vec<IpAddr>,
}

impl Sources {
    /// The address for a connection, if there is one of the family.
    pub(crate) fn of(&self, connection: usize, is_ipv4: bool) -> Option<IpAddr> {
        let addresses = if is_ipv4 { &self.ipv4 } else { &self.ipv6 };
        addresses.get(connection.checked_rem(addresses.len())?).copied()
    }

    fn add(&mut self, address: IpAddr) {
        let addresses = if address.is_ipv4() { &mut self.ipv4 } else { &mut self.ipv6 };
        addresses.push(address);
    }
}

/// Reads a list, and makes sure that connections can come from each address.
pub(crate) fn read(text: &str) -> Result<Sources, String> {
    let mut sources = Sources::default();
    for part in text.split(',') {
        let (first, last) = range(part.trim())?;
        if last - first >= SOURCES_MAX {
            return Err(format!("{part} are too many addresses: give at most {SOURCES_MAX}"));
        }
        let is_ipv4 = part.contains('.');
        for number in first..=last {
            let address = address(number, is_ipv4);
            UdpSocket::bind((address, 0)).map_err(|_| {
                format!(
                    "{address} is not an address of this machine: add it (ip address add \
                     {address} dev DEVICE) or leave it out"
                )
            })?;
            sources.add(address);
        }
    }
    Ok(sources)
}

/// The first and the last address, as numbers.
fn range(part: &str) -> Result<(u128, u128), String> {
    let parse = |text: &str| text.parse::<IpAddr>().ok();
    let wrong = || format!("{part} is not an address: give ADDR, FIRST-LAST or ADDR/BITS");
    if let Some((first, last)) = part.split_once('-') {
        let (first, last) = (parse(first).ok_or_else(wrong)?, parse(last).ok_or_else(wrong)?);
        if first.is_ipv4() != last.is_ipv4() || first > last {
            return Err(format!("{part} is no range: give the lower address first"));
        }
        return Ok((number(first), number(last)));
    }
    let (start, bits) = part.split_once('/').unwrap_or((part, ""));
    let start = parse(start).ok_or_else(wrong)?;
    let width: u32 = if start.is_ipv4() { 32 } else { 128 };
    let bits = if part.contains('/') { bits.parse().map_err(|_| wrong())? } else { width };
    let free = width.checked_sub(bits).ok_or_else(wrong)?;
    let mask = 1u128.checked_shl(free).map_or(u128::MAX, |size| size - 1);
    Ok((number(start) & !mask, number(start) | mask))
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => u32::from(address).into(),
        IpAddr::V6(address) => address.into(),
    }
}

fn address(number: u128, is_ipv4: bool) -> IpAddr {
    // A range of the family's has no number beyond it.
    if is_ipv4 { Ipv4Addr::from(number as u32).into() } else { Ipv6Addr::from(number).into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_ranges_and_networks_are_taken_in_turn() {
        let sources = read("127.0.0.9, 127.0.0.2-127.0.0.3,127.0.1.5/30").unwrap();
        let taken: Vec<_> = (0..8).map(|n| sources.of(n, true).unwrap().to_string()).collect();
        let expected = [
            "127.0.0.9",
            "127.0.0.2",
            "127.0.0.3",
            "127.0.1.4",
            "127.0.1.5",
            "127.0.1.6",
            "127.0.1.7",
            "127.0.0.9",
        ];
        assert_eq!(taken, expected);
        assert_eq!(sources.of(0, false), None);
    }

    #[test]
    fn what_is_wrong_is_said_in_a_line() {
        for (text, advice) in [
            ("", "give ADDR"),
            ("localhost", "give ADDR"),
            ("127.0.0.1/33", "give ADDR"),
            ("127.0.0.3-127.0.0.2", "lower address first"),
            ("127.0.0.1-::1", "lower address first"),
            ("127.0.0.0/8", "at most 65536"),
            ("::/0", "at most 65536"),
            ("192.0.2.1", "ip address add 192.0.2.1"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(advice) && !error.contains('\n'), "{text}: {error}");
        }
    }
}
