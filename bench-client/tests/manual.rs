//! What the program says about itself: help, completions and the manual page.

use std::process::{Command, Output};

fn say(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_wireloop-bench")).args(arguments).output().unwrap()
}

#[track_caller]
fn text(arguments: &[&str]) -> String {
    let output = say(arguments);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}");
    assert!(output.stderr.is_empty(), "{arguments:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn help_is_told_whatever_else_is_asked_for() {
    let help = text(&["--help"]);
    assert!(help.lines().count() <= 50, "{help}");
    assert_eq!(text(&["-h"]), help);
    assert_eq!(text(&["-qh"]), help);
    assert_eq!(text(&["--nonsense", "--help"]), help);
    let load = text(&["--help", "load"]);
    assert!(load.starts_with("Load:\n") && load.contains("--stage"), "{load}");
    assert!(!load.contains("--html"), "{load}");
    assert_eq!(text(&["--help=load"]), load);
    assert!(text(&["--help", "all"]).contains("Exit codes"));
    assert!(text(&["compare", "--help"]).contains("--fail-on-regression"));
}

#[test]
fn the_version_is_told() {
    let version = concat!("wireloop-bench ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(text(&["--version"]), version);
    assert_eq!(text(&["-V"]), version);
}

#[test]
fn a_group_that_is_not_there_is_told_in_a_line() {
    let output = say(&["--help", "nonsense"]);
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), line.lines().count()), (Some(2), 1), "{line}");
    assert!(
        line.contains("load, payload, protocol, target, output, decisions, run, all"),
        "{line}"
    );
}

#[test]
fn completions_are_written_for_each_shell() {
    for (shell, part) in [
        ("bash", "complete -F"),
        ("zsh", "#compdef wireloop-bench"),
        ("fish", "complete -c wireloop-bench"),
        ("elvish", "edit:completion"),
        ("powershell", "Register-ArgumentCompleter"),
    ] {
        assert!(text(&["--completions", shell]).contains(part), "{shell}");
    }
    assert_eq!(say(&["--completions", "nonsense"]).status.code(), Some(2));
}

/// Whether a formatter likes it is seen in tests/run.sh.
#[test]
fn there_is_a_manual_page() {
    let page = text(&["--man"]);
    for part in [".TH wireloop", ".SH OPTIONS", ".SH \"EXIT STATUS\"", "\\-\\-find\\-max"] {
        assert!(page.contains(part), "{part}: {page}");
    }
}
