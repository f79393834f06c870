//! The tables of the report: the times, what went wrong, how the run was made, and what each of the
//! numbers means.

use std::fmt;

use super::{super::details::details, bound, escape, quantile};
use crate::{
    measure::{
        results::{Environment, Group, Results, ServerCost},
        stats::Stats,
        times::Times,
    },
    units::{count, plural, time},
};

const SHARES: [(&str, f64); 6] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("p99.99", 0.9999),
];

/// What the words of the report mean.
const DEFINITIONS: [(&str, &str); 15] = [
    (
        "Response time",
        "From the moment at which a message was due by the schedule to the arrival of its whole \
         echo. What the client or the server delays is part of it, so that a stall of the server \
         counts for every message that was due in it.",
    ),
    ("Service time", "From the write of a message to the arrival of its whole echo."),
    (
        "Echo time",
        "The service time in a closed loop, where an answer releases the next message. Such a loop \
         waits with the server when it stalls, and does not see what others would have waited.",
    ),
    (
        "Send lag",
        "From the moment at which a message was due to its write: the client's own delay.",
    ),
    (
        "Opening",
        "From the start of a connection until its upgrade was accepted. Its parts are the TCP \
         connection, the TLS handshake and the upgrade; the first message comes after it.",
    ),
    (
        "Session",
        "From the moment at which a connection was due until its last answer, of those that have \
         left.",
    ),
    ("Ping", "From the write of a ping to its pong, beside the messages."),
    (
        "Compression",
        "The bytes of payloads by those of the frames that carried them, on connections with \
         permessage-deflate.",
    ),
    (
        "Percentile",
        "The time that so many of a hundred messages did not exceed, to three digits. It is only \
         told if at least ten messages were slower; – is one that is not told. The maximum is exact \
         to the same digits.",
    ),
    (
        ">",
        "At least. A message without an answer counts with the age at which it was given up; what \
         it may have made too small is marked so.",
    ),
    ("Echoes per second", "Echoes that arrived in the measurement, by its length."),
    (
        "Errors",
        "Whatever was not as it should be: connections that did not open or ended, and echoes that \
         were wrong, twice, out of order or missing. Messages are numbered, and all bytes compared.",
    ),
    (
        "Server CPU",
        "User and system time of the server's process within the measurement, and that of ksoftirqd \
         where it is counted, by the echoes of that time. The kernel's thread ksoftirqd does a part \
         of the sending of large batches; it counts if the server is pinned to some of the \
         processors, and is that of these.",
    ),
    (
        "Server memory",
        "What the resident memory of the server's process grew by as the connections were opened, \
         by their number, before any message was sent. With fewer than a thousand for each process it is \
         not told: it would say more about what the process had left over.",
    ),
    (
        "Verdict",
        "VALID: the client was not in the way. SUSPECT: it added something to the figures. INVALID: \
         they tell more about the client, or the machine below it, than about the server.",
    ),
];

/// The times of each group and kind.
pub(super) fn write_times(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    writeln!(
        f,
        "<section class=\"card\"><h2>Times</h2><div class=\"scroll\" tabindex=\"0\"><table><thead><tr><th></th>"
    )?;
    for (name, _) in SHARES {
        write!(f, "<th>{name}</th>")?;
    }
    writeln!(f, "<th>max</th><th>mean</th><th>count</th></tr></thead><tbody>")?;
    for (group, stats) in results.groups.iter().zip(&results.tally.groups) {
        if !group.name.is_empty() {
            writeln!(
                f,
                "<tr><th class=\"group\" colspan=\"10\">{}</th></tr>",
                escape(&group.name)
            )?;
        }
        for (name, times) in kinds(group, stats) {
            write_row(f, name, times)?;
        }
    }
    writeln!(f, "</tbody></table></div></section>")
}

/// The kinds of times that a group has.
fn kinds<'s>(group: &Group, stats: &'s Stats) -> Vec<(&'static str, &'s Times)> {
    let messages = match group.offered {
        Some(_) => vec![
            ("response", &stats.response),
            ("service", &stats.service),
            ("send lag", &stats.lag),
        ],
        None if group.is_idle => Vec::new(),
        None => vec![("echo", &stats.service)],
    };
    let fan_out = stats.fan_out.iter().flat_map(|fan_out| {
        [
            ("· first of them", &fan_out.first),
            ("· middle", &fan_out.median),
            ("· last of them", &fan_out.last),
        ]
    });
    let phases = &stats.phases;
    let others = [
        ("session", &stats.sessions),
        ("ping", &stats.ping),
        ("opening", &phases.opening),
        ("· name", &phases.dns),
        ("· TCP", &phases.connect),
        ("· TLS", &phases.tls),
        ("· upgrade", &phases.upgrade),
        ("· first message", &phases.first_message),
    ];
    let others = others.into_iter().filter(|(_, times)| times.count() > 0);
    messages.into_iter().chain(fan_out).chain(others).collect()
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, times: &Times) -> fmt::Result {
    write!(f, "<tr><th>{name}</th>")?;
    for (_, share) in SHARES {
        write!(f, "<td>{}</td>", escape(&quantile(times, share)))?;
    }
    let (max, mean) = match times.count() {
        0 => ("–".into(), "–".into()),
        _ => (bound(times.max()), bound(times.mean())),
    };
    let number = count(times.count() as f64);
    writeln!(f, "<td>{}</td><td>{}</td><td>{number}</td></tr>", escape(&max), escape(&mean))
}

/// What went wrong, and how connections ended.
pub(super) fn write_errors(f: &mut fmt::Formatter<'_>, total: &Stats) -> fmt::Result {
    writeln!(
        f,
        "<section class=\"pair\"><div class=\"card\"><h2>Errors</h2><table id=\"errors\"><tbody>"
    )?;
    for (failure, times) in total.failures.iter() {
        let failure = escape(&failure.to_string());
        writeln!(f, "<tr><th>{failure}</th><td class=\"bad\">{}</td></tr>", count(times as f64))?;
    }
    if total.failures.total() == 0 {
        writeln!(f, "<tr><th>none</th><td>0</td></tr>")?;
    }
    writeln!(f, "</tbody></table></div><div class=\"card\"><h2>Closes in good order</h2>")?;
    writeln!(f, "<table><tbody>")?;
    for (code, times) in &total.closes {
        writeln!(f, "<tr><th>code {code}</th><td>{}</td></tr>", count(*times as f64))?;
    }
    if total.closes.is_empty() {
        writeln!(f, "<tr><th>none</th><td>0</td></tr>")?;
    }
    writeln!(f, "</tbody></table></div></section>")
}

/// How the run was made, and where.
pub(super) fn write_run(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let words: Vec<_> = results.arguments.iter().map(|word| quoted(word)).collect();
    let command = escape(&format!("wireloop-bench {}", words.join(" ")));
    writeln!(f, "<section class=\"card\"><h2>The run</h2><pre>{}</pre>", command.trim_end())?;
    writeln!(f, "<dl class=\"facts\">")?;
    let mut fact = |name: &str, value: &str| {
        writeln!(f, "<div><dt>{name}</dt><dd>{}</dd></div>", escape(value))
    };
    for group in &results.groups {
        let name = if group.name.is_empty() { "Load" } else { &group.name };
        fact(&escape(name), &format!("{} at {}", group.load, group.url))?;
    }
    for (name, text) in details(&results.total()) {
        let name = name.replacen(|_: char| true, &name[..1].to_uppercase(), 1);
        fact(&name, &text)?;
    }
    let processes = match results.processes {
        0 | 1 => String::new(),
        processes => format!(" in {processes} processes"),
    };
    let threads = plural(results.threads, "thread");
    fact("Client", &format!("{threads}{processes} on {}", results.driver))?;
    let health = &results.tally.health;
    let percent = |share: f64| format!("{:.1} %", 100.0 * share);
    let text = format!(
        "the busiest thread ran for {} of the time, waited for a processor for {} and had stalled \
         for {}",
        percent(health.busy),
        percent(health.delayed),
        percent(health.stalled),
    );
    fact("Client's health", &text)?;
    if let Some(delayed) = results.server.and_then(|server| server.delayed) {
        fact(
            "Server's health",
            &format!("a thread waited for a processor for {}", percent(delayed)),
        )?;
    }
    // What both servers of a comparison have used together is nobody's figure.
    if let Some(server) = results.server.filter(|_| results.versus.is_none()) {
        fact("Server's CPU time", &cpu_parts(&server))?;
    }
    if let Some(stolen) = results.stolen {
        fact("Taken by the host", &percent(stolen))?;
    }
    let Environment { kernel, processor, placement, same_host, .. } = &results.environment;
    fact("Placement", placement)?;
    let shared =
        if *same_host { "on the same machine as the client" } else { "on another machine" };
    fact("Server", shared)?;
    fact("Kernel", kernel)?;
    fact("Processor", processor)?;
    let processors = results.environment.processors;
    let quota = results.environment.quota.map(|quota| format!(", limited to the time of {quota}"));
    fact("Processors", &format!("{processors} usable{}", quota.unwrap_or_default()))?;
    fact("Frequency governor", results.environment.governor.as_deref().unwrap_or("not known"))?;
    let files = results.environment.file_limit.map(|limit| count(limit as f64));
    fact("Open files", files.as_deref().unwrap_or("no limit"))?;
    writeln!(f, "</dl></section>")
}

/// The parts of the server's CPU time, and whether that of `ksoftirqd` is among them.
fn cpu_parts(server: &ServerCost) -> String {
    let mut parts = vec![time(server.cpu)];
    parts.extend(server.parts().map(|(name, part)| format!("{name} {}", time(part))));
    parts.extend(
        server.ksoftirqd_uncounted.map(|why| format!("ksoftirqd not counted: {}", why.words())),
    );
    parts.join(", ")
}

/// What the numbers mean.
pub(super) fn write_definitions(f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "<section class=\"card\"><h2>What the numbers mean</h2><dl class=\"words\">")?;
    for (word, meaning) in DEFINITIONS {
        writeln!(f, "<div><dt>{}</dt><dd>{meaning}</dd></div>", escape(word))?;
    }
    writeln!(f, "</dl></section>")
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quoted("--rate=5k"), "--rate=5k");
        assert_eq!(quoted("p99<2ms"), "'p99<2ms'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
