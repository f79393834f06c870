//! The manual page: what clap knows of the options, and below it what stands below the help.

use clap::CommandFactory;
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};

use super::{
    CODES_BEGIN, CODES_END, EXAMPLES, EXIT_CODES, UNANSWERED, UNITS, USAGE, first_sentence,
};
use crate::cli::Arguments;

const COMPARE_USAGE: &str = "wireloop-bench compare [OPTIONS] FILE...";

/// The page, for `man -l`.
pub(super) fn page() -> String {
    let command = Arguments::command();
    // The first section has room for a phrase, and the description for all.
    let about = command.get_about().map(ToString::to_string).unwrap_or_default();
    let man = Man::new(command.about(first_sentence(&about)).long_about(about));
    let mut page = Vec::new();
    // A vector takes all.
    let _ = man
        .render_title(&mut page)
        .and_then(|()| man.render_name_section(&mut page))
        .and_then(|()| synopsis().to_writer(&mut page))
        .and_then(|()| man.render_description_section(&mut page))
        .and_then(|()| man.render_options_section(&mut page))
        .and_then(|()| closing_sections().to_writer(&mut page));
    String::from_utf8_lossy(&page).into_owned()
}

/// How the command is used: its options are too many to be listed twice.
fn synopsis() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for usage in [USAGE, COMPARE_USAGE] {
        roff.text([roman(usage)]).control("br", []);
    }
    roff.text([roman("The options of compare are told by wireloop-bench compare --help.")]);
    roff
}

/// What stands below all options, and examples.
fn closing_sections() -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["UNITS"]).text([roman(UNITS)]);
    roff.control("SH", ["UNANSWERED MESSAGES"]).text([roman(UNANSWERED)]);
    roff.control("SH", ["EXIT STATUS"]).text([roman(CODES_BEGIN)]);
    list(&mut roff, &EXIT_CODES);
    roff.control("PP", []).text([roman(CODES_END)]);
    roff.control("SH", ["EXAMPLES"]);
    list(&mut roff, &EXAMPLES);
    roff
}

fn list(roff: &mut Roff, entries: &[(&str, &str)]) {
    for (term, meaning) in entries {
        roff.control("TP", []).text([bold(*term)]).text([roman(*meaning)]);
    }
}
