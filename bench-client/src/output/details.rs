//! What a run tells beside its times and rates, if there is anything to tell: how well messages were
//! compressed, and which subprotocols the server has chosen.

use crate::{
    measure::stats::{Stats, Volume},
    units::count,
};

/// What each of those is, and what was found.
pub(super) fn details(total: &Stats) -> Vec<(&'static str, String)> {
    let compression = [("sent", total.sent_compressed), ("received", total.received_compressed)];
    let compression = compression
        .into_iter()
        .filter_map(|(name, volume)| Some(format!("{} {name}", ratio(volume)?)))
        .collect::<Vec<_>>()
        .join(", ");
    let chosen = total.subprotocols.iter().map(|(name, connections)| {
        let name = if name.is_empty() { "none" } else { name };
        format!("{name} on {}", count(*connections as f64))
    });
    let chosen = chosen.collect::<Vec<_>>().join(", ");
    let all = [("compression", compression), ("subprotocols", chosen)];
    all.into_iter().filter(|(_, text)| !text.is_empty()).collect()
}

/// How many bytes of payload a byte of the connection carries.
fn ratio(volume: Volume) -> Option<String> {
    let Volume { plain, compressed } = volume;
    (compressed > 0).then(|| format!("{:.2} : 1", plain as f64 / compressed as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_there_is_is_told() {
        assert_eq!(details(&Stats::default()), []);
        let stats = Stats {
            sent_compressed: Volume { plain: 300, compressed: 100 },
            subprotocols: [(String::new(), 1), ("chat".into(), 2000)].into(),
            ..Stats::default()
        };
        let expected = [
            ("compression", "3.00 : 1 sent".to_owned()),
            ("subprotocols", "none on 1, chat on 2,000".to_owned()),
        ];
        assert_eq!(details(&stats), expected);
    }
}
