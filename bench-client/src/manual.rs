//! What the program says about its own options: help by groups of them, completions for shells and
//! a manual page. All of it is rendered from the definition of the command line.

mod page;

use std::io::{self, Write};

use clap::{Arg, Args, Command, CommandFactory, builder::PossibleValuesParser};
use clap_complete::Shell;

use crate::cli::Arguments;

/// As wide as lines of help are at most.
const WIDTH_MAX: usize = 100;

/// What asks for help about all options.
const ALL: &str = "all";

/// The groups of options, each with its heading in the definition and what it is about.
const GROUPS: [(&str, &str, &str); 7] = [
    ("load", "Load", "stages, random times, sessions, think time, fan-out, slow readers"),
    ("payload", "Payload", "sizes and their distributions, text, files, templates"),
    ("protocol", "Protocol", "handshake, authentication, compression, fragments, pings"),
    ("target", "Target", "address families, source addresses, TLS"),
    ("output", "Output", "JSON, HTML, HdrHistogram's files, Prometheus, progress"),
    (
        "decisions",
        "Decisions",
        "thresholds, search for the highest rate, comparison of two servers",
    ),
    ("run", "Run", "lengths of time, threads, processes, the server without a URL"),
];

/// What most people need, in the order in which it is shown.
const COMMON: [&str; 16] = [
    "connections",
    "rate",
    "depth",
    "duration",
    "threads",
    "size",
    "headers",
    "compression",
    "insecure",
    "thresholds",
    "find_max",
    "versus",
    "scenario",
    "json_file",
    "html",
    "help",
];

const USAGE: &str = "wireloop-bench [OPTIONS] [URL]";

const EXAMPLES: [(&str, &str); 3] = [
    ("wireloop-bench -c 1000 -d 30s", "a closed loop"),
    (
        "wireloop-bench -R 20k --threshold 'p99<5ms' ws://HOST/PATH",
        "an open loop with an objective",
    ),
    ("wireloop-bench --find-max 'p99<5ms' ws://HOST/PATH", "the highest rate that keeps it"),
];

const UNITS: &str =
    "Sizes take k, m or g (1024), rates and numbers k or m (1000), times ms, s, m or h.";

const UNANSWERED: &str = "A message without an answer counts with the age at which it was given \
    up; figures that it may have made too small are marked >.";

const CODES_BEGIN: &str = "Exit codes, of which the first that fits counts:";

const EXIT_CODES: [(&str, &str); 6] = [
    ("2", "a wrong argument"),
    ("1", "the run was not possible, or nothing was measured"),
    ("99", "a threshold was broken"),
    ("1", "something failed, or an echo was wrong or missing"),
    ("3", "all went well, but the figures are INVALID: more the client's doing than the server's"),
    ("0", "all went well"),
];

const CODES_END: &str = "Ctrl-C ends the run early and tells what there is; a second one ends the \
    process with 130.";

/// The options that make the program speak about itself.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ManualArguments {
    /// Tell the options that most people need, those of a GROUP, or all
    #[arg(
        short,
        long,
        value_name = "GROUP",
        num_args = 0..=1,
        default_missing_value = "",
        value_parser = PossibleValuesParser::new(names()),
        hide_possible_values = true,
        help_heading = "Run"
    )]
    help: Option<String>,

    /// Write completions for a shell: bash, zsh, fish, elvish or powershell
    #[arg(
        long,
        value_enum,
        value_name = "SHELL",
        hide_possible_values = true,
        help_heading = "Run"
    )]
    completions: Option<Shell>,

    /// Write the manual page, for man -l
    #[arg(long, help_heading = "Run")]
    man: bool,
}

impl ManualArguments {
    /// Says what was asked for, if anything was.
    pub(crate) fn say(&self) -> Option<Result<(), String>> {
        let group = self.help.as_deref().map(help);
        let shell = || self.completions.map(|shell| Ok(completions(shell)));
        let page = || self.man.then(|| Ok(page::page()));
        let text = group.or_else(shell).or_else(page)?;
        Some(text.map(|text| {
            // Whoever reads may have seen enough.
            let _ = io::stdout().write_all(text.as_bytes());
        }))
    }
}

/// The help that these arguments ask for, whatever else is wrong with them.
pub(crate) fn asked(arguments: impl IntoIterator<Item = String>) -> Option<ManualArguments> {
    let mut words = arguments.into_iter().take_while(|word| word != "--").peekable();
    if words.peek().is_some_and(|word| Arguments::command().find_subcommand(word).is_some()) {
        // It has a help of its own.
        return None;
    }
    let word =
        words.find(|word| word == "-h" || word == "--help" || word.starts_with("--help="))?;
    let group = match word.strip_prefix("--help=") {
        Some(group) => group.to_owned(),
        None => words.next().filter(|word| !word.starts_with('-')).unwrap_or_default(),
    };
    Some(ManualArguments { help: Some(group), ..ManualArguments::default() })
}

/// The values of `--help`: none is the short help.
fn names() -> impl Iterator<Item = &'static str> {
    GROUPS.iter().map(|(name, ..)| *name).chain([ALL, ""])
}

/// The text of the help about a group of options.
fn help(group: &str) -> Result<String, String> {
    let command = Arguments::command().max_term_width(WIDTH_MAX);
    let heading = GROUPS.iter().find(|(name, ..)| *name == group).map(|(_, heading, _)| *heading);
    let mut command = match (group, heading) {
        ("", _) => common(command),
        (ALL, _) => command,
        (_, Some(heading)) => one_group(command, heading),
        (_, None) => {
            let names: Vec<_> = names().filter(|name| !name.is_empty()).collect();
            return Err(format!("no options are called {group:?}: choose {}", names.join(", ")));
        }
    };
    Ok(command.render_help().to_string())
}

/// What stands below all options.
pub(crate) fn closing() -> String {
    let line = |(code, meaning)| format!("  {code:>2}  {meaning}\n");
    let codes: String = EXIT_CODES.into_iter().map(line).collect();
    format!("{UNITS}\n{UNANSWERED}\n\n{CODES_BEGIN}\n{codes}{CODES_END}")
}

fn common(command: Command) -> Command {
    let width = GROUPS.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let line = |name: &str, about: &str| format!("  {name:<width$}  {about}\n");
    let groups: String = GROUPS.iter().map(|(name, _, about)| line(name, about)).collect();
    let example = |(words, what)| format!("  {words:<60}  {what}\n");
    let examples: String = EXAMPLES.into_iter().map(example).collect();
    let all = line(ALL, "all options, units and exit codes");
    command
        .mut_args(|arg| match COMMON.iter().position(|id| arg.get_id() == *id) {
            Some(place) => {
                let text = arg.get_help().map(|help| first_sentence(&help.to_string()));
                arg.help_heading("Options").display_order(place).help(text.unwrap_or_default())
            }
            None if arg.is_positional() => arg,
            None => arg.hide(true),
        })
        .disable_version_flag(true)
        .override_usage(USAGE)
        .after_help(format!("More with --help GROUP:\n{groups}{all}\nExamples:\n{examples}"))
}

/// The first sentence of a text, without its end.
fn first_sentence(text: &str) -> String {
    let end = [". ", "; "].iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].to_owned()
}

fn one_group(command: Command, heading: &'static str) -> Command {
    command
        .mut_subcommands(|subcommand| subcommand.hide(true))
        .mut_args(|arg: Arg| match arg.get_help_heading() {
            Some(own) if own == heading => arg,
            _ => arg.hide(true),
        })
        .disable_version_flag(true)
        .help_template("{all-args}{after-help}")
        .after_help(UNITS)
}

fn completions(shell: Shell) -> String {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    clap_complete::generate(shell, &mut command, name, &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;

    /// The long names of all options that are not hidden.
    fn options() -> Vec<String> {
        let command = Arguments::command();
        let shown = command.get_arguments().filter(|arg| !arg.is_hide_set());
        shown.filter_map(|arg| arg.get_long().map(str::to_owned)).collect()
    }

    #[test]
    fn help_is_one_screen() {
        let text = help("").unwrap();
        let lines = text.lines().count();
        assert!((25..=50).contains(&lines), "{lines} lines:\n{text}");
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH_MAX), "{text}");
        for (name, ..) in GROUPS {
            assert!(text.contains(&format!("\n  {name} ")), "{name}:\n{text}");
        }
        for id in COMMON {
            let command = Arguments::command();
            let option = command.get_arguments().find(|arg| arg.get_id() == id);
            let name = option.and_then(Arg::get_long).unwrap_or_else(|| panic!("no {id}"));
            assert!(text.contains(&format!("--{name}")), "{name}:\n{text}");
        }
    }

    #[test]
    fn each_option_is_in_one_group() {
        let groups: Vec<_> = GROUPS.iter().map(|(name, ..)| help(name).unwrap()).collect();
        let all = help(ALL).unwrap();
        for name in options() {
            let of = |text: &&String| {
                text.lines().any(|line| {
                    let mut words = line.trim_start().split([' ', '[', '=', ',']);
                    let is_option = line.trim_start().starts_with('-');
                    is_option && words.any(|word| word == format!("--{name}"))
                })
            };
            assert_eq!(groups.iter().filter(of).count(), 1, "{name}: {groups:#?}");
            assert!(of(&&all), "{name}:\n{all}");
        }
        assert!(all.contains("Exit codes") && !groups[0].contains("Exit codes"));
        assert!(help("nonsense").unwrap_err().contains("choose load, payload"));
    }

    #[test]
    fn help_is_found_in_spite_of_errors() {
        let of = |line: &str| {
            asked(line.split_whitespace().map(str::to_owned)).map(|asked| asked.help.unwrap())
        };
        assert_eq!(of("-c 1 --nonsense"), None);
        assert_eq!(of("--nonsense --help"), Some("".into()));
        assert_eq!(of("-h load -c 1"), Some("load".into()));
        assert_eq!(of("--help -c 1"), Some("".into()));
        assert_eq!(of("--help=run"), Some("run".into()));
        assert_eq!(of("-- --help"), None);
    }

    #[test]
    fn completions_and_the_manual_name_all_options() {
        for shell in Shell::value_variants() {
            let script = completions(*shell);
            for name in options() {
                assert!(script.contains(&name), "{shell}: {name}");
            }
        }
        let page = page::page();
        for name in options() {
            assert!(page.contains(&name.replace('-', "\\-")), "{name}");
        }
        assert!(!page.contains("hold\\-source"));
    }
}
