//! The report for the browser: one file that needs nothing else, and tells all without its script.

mod chart;
mod charts;
mod decisions;
mod tables;

use std::{
    fmt::{self, Display},
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    measure::{
        results::{Group, Judged, Results},
        stats::Stats,
        times::{Bound, Times},
        verdict::Verdict,
    },
    units::{self, count},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The report of a run.
#[derive(Debug)]
pub(crate) struct Report<'r>(pub(crate) &'r Results);

impl Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let results = self.0;
        let total = results.total();
        write_head(f, results)?;
        write_judgement(f, results, &total)?;
        if let Some(search) = &results.search {
            decisions::write_search(f, search)?;
        }
        match &results.versus {
            // What both servers have done together is nobody's figure.
            Some(versus) => decisions::write_versus(f, versus)?,
            None => write_summary(f, results, &total)?,
        }
        tables::write_times(f, results)?;
        writeln!(f, "<section class=\"charts\">")?;
        for chart in charts::all(results) {
            write!(f, "{chart}")?;
        }
        writeln!(f, "</section>")?;
        tables::write_errors(f, &total)?;
        tables::write_run(f, results)?;
        tables::write_definitions(f)?;
        writeln!(f, "</main><script>{SCRIPT}</script></body></html>")
    }
}

fn write_head(f: &mut fmt::Formatter<'_>, results: &Results) -> fmt::Result {
    let mut urls: Vec<_> = results.groups.iter().map(|group| group.url.as_str()).collect();
    urls.dedup();
    let urls = escape(&urls.join(", "));
    let begun = UNIX_EPOCH + Duration::from_secs_f64(results.begun_s.max(0.0));
    let begun = humantime::format_rfc3339_seconds(begun).to_string().replace('T', " ");
    let begun = begun.replace('Z', " UTC");
    // Nothing may be loaded, whatever is in the text.
    writeln!(
        f,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <link rel=\"icon\" href=\"data:,\"><title>wireloop-bench: {urls}</title>\n\
         <style>{STYLE}</style></head><body><main>\n\
         <header><p class=\"brand\">wireloop-bench {version}</p><h1>{urls}</h1>\n\
         <p class=\"muted\">{begun} · measured for {seconds:.1} s · {connections}</p></header>",
        version = escape(&results.version),
        seconds = results.measured.as_secs_f64(),
        connections = units::plural(results.connections(), "connection"),
    )
}

/// The figures that people look for first.
fn write_summary(f: &mut fmt::Formatter<'_>, results: &Results, total: &Stats) -> fmt::Result {
    let seconds = results.measured.as_secs_f64().max(1e-9);
    let is_open_loop = results.groups.iter().any(|group| group.offered.is_some());
    let times = if is_open_loop { &total.response } else { &total.service };
    let kind = if is_open_loop { "response" } else { "echo" };
    let offered: f64 = results.groups.iter().filter_map(|group| group.offered).sum();
    let is_idle = results.groups.iter().all(|group| group.is_idle);
    let is_closed_loop = |group: &Group| group.offered.is_none() && !group.is_idle;
    let rate = match (is_open_loop, results.groups.iter().any(is_closed_loop)) {
        _ if is_idle => "nothing was sent".into(),
        (true, true) => "open and closed loops".into(),
        (true, false) => format!("of {} offered", count(offered)),
        (false, _) => "closed loop".into(),
    };
    writeln!(f, "<section class=\"tiles\">")?;
    write_tile(f, "echoes per second", &count(total.echoes as f64 / seconds), &rate)?;
    for (name, share) in [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)] {
        write_tile(f, name, &quantile(times, share), &format!("{kind} time"))?;
    }
    let errors = total.failures.total();
    let lost = "every byte was compared";
    write_tile(f, "errors", &count(errors as f64), lost)?;
    let opened = format!("of {}", count(results.connections() as f64));
    write_tile(f, "connections", &count(total.opened as f64), &opened)?;
    if let Some(server) = results.server {
        let per_echo = server.cpu.div_f64(total.echoes.max(1) as f64);
        write_tile(f, "server CPU", &time(per_echo), "per echo")?;
        let memory = server.idle_bytes(results.connections());
        let memory = memory.map_or_else(|| "–".into(), |bytes| format!("{bytes:.0} B"));
        write_tile(f, "server memory", &memory, "per idle connection")?;
    }
    writeln!(f, "</section>")
}

fn write_tile(f: &mut fmt::Formatter<'_>, name: &str, value: &str, note: &str) -> fmt::Result {
    let (name, value, note) = (escape(name), escape(value), escape(note));
    writeln!(f, "<div class=\"card tile\"><h2>{name}</h2><p>{value}</p><small>{note}</small></div>")
}

/// What was to be kept, what the figures are worth, and how the run ended.
fn write_judgement(f: &mut fmt::Formatter<'_>, results: &Results, total: &Stats) -> fmt::Result {
    let outcome = &results.outcome;
    writeln!(f, "<section class=\"pair\">")?;
    if !results.thresholds.is_empty() {
        let held = results.thresholds.iter().filter(|judged| judged.is_held).count();
        let all = results.thresholds.len();
        writeln!(f, "<div class=\"card\"><h2>Thresholds: {held} of {all} kept</h2>")?;
        writeln!(f, "<ul class=\"judged kept\">")?;
        for Judged { threshold, measured, is_held } in &results.thresholds {
            let (class, mark) = if *is_held { ("good", "✓") } else { ("bad", "✗") };
            let (threshold, measured) = (escape(threshold), escape(&micros(measured)));
            writeln!(
                f,
                "<li class=\"{class}\"><b>{mark}</b><code>{threshold}</code><span>{measured}</span></li>"
            )?;
        }
        writeln!(f, "</ul></div>")?;
    }
    let class = match results.verdict {
        Verdict::Valid => "good",
        Verdict::Suspect => "fair",
        Verdict::Invalid => "bad",
    };
    let is_measured = total.echoes > 0;
    let verdict = match is_measured {
        true => format!("<b class=\"pill {class}\">{}</b>", results.verdict),
        false => "<b class=\"pill bad\">NOTHING MEASURED</b>".into(),
    };
    writeln!(f, "<div class=\"card\"><h2>Verdict {verdict}</h2>")?;
    writeln!(f, "<ul class=\"judged\">")?;
    let mut say = |class: &str, text: &str| {
        writeln!(f, "<li class=\"{class}\"><span>{}</span></li>", escape(&micros(text)))
    };
    if outcome.is_partial() {
        let why = match () {
            () if outcome.was_interrupted => "it was interrupted",
            () if outcome.was_aborted => "a threshold was broken",
            () => "all connections had failed",
        };
        say("bad", &format!("Partial: the run has ended early, as {why}"))?;
    }
    if let Some(complaint) = &outcome.complaint {
        say("bad", complaint)?;
    }
    if is_measured && results.reasons.is_empty() {
        say("", "The client was not in the way: the figures are the server's")?;
    }
    for (verdict, reason) in &results.reasons {
        say(if *verdict == Verdict::Invalid { "bad" } else { "fair" }, reason)?;
    }
    for warning in &results.environment.warnings {
        say("fair", warning)?;
    }
    match results.is_good() {
        true => say("good", "All connections were opened, and all echoes were right")?,
        false if !is_measured => say("bad", "Nothing was echoed")?,
        false => say("bad", "Something went wrong: see the errors below")?,
    }
    writeln!(f, "</ul></div></section>")
}

/// A percentile, or a dash if there are too few times to tell.
fn quantile(times: &Times, share: f64) -> String {
    times.quantile(share).map_or_else(|| "–".into(), bound)
}

fn bound(Bound { time, is_exact }: Bound) -> String {
    format!("{}{}", if is_exact { "" } else { "> " }, self::time(time))
}

fn time(time: Duration) -> String {
    micros(&units::time(time))
}

/// With the sign for a millionth, which a terminal may not have.
fn micros(text: &str) -> String {
    text.replace(" us", " µs")
}

/// Text as it stands in a page, within attributes too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_is_told_and_nothing_is_markup() {
        let text = Report(&Results::example()).to_string();
        for part in [
            "<h2>Thresholds: 1 of 2 kept</h2>",
            "<b>✗</b><code>p99&lt;1ms</code><span>&gt;20.0 ms</span>",
            "SUSPECT",
            "&lt;noise&gt;",
            "ws://[::1]/&lt;&quot;chat&quot;&gt;",
            "Partial: the run has ended early",
            "chat: response",
            "code 1001",
            "limited to the time of 1.5",
            "wireloop-bench --threshold &#39;p99&lt;1ms&#39;",
        ] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("<noise>") && !text.contains("<\"chat"));
        // Nothing that a browser would ask others for.
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("src="));
    }
}
