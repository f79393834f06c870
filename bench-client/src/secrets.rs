//! What of the command line is not told: results are sent to others and kept.

use clap::{Arg, Command, CommandFactory};

use crate::cli::Arguments;

/// The options whose values let somebody in.
const SECRETS: [&str; 5] = ["user", "bearer", "cookie", "header", "key"];

/// What stands in the place of such a value.
const HIDDEN: &str = "***";

/// The arguments, without what is secret.
pub(crate) fn hide(arguments: impl IntoIterator<Item = String>) -> Vec<String> {
    let command = Arguments::command();
    let mut shown = Vec::new();
    let mut is_secret = false;
    let mut are_options_over = false;
    for argument in arguments {
        if std::mem::take(&mut is_secret) {
            shown.push(HIDDEN.into());
        } else if are_options_over || argument == "--" {
            are_options_over = true;
            shown.push(argument);
        } else {
            let start = secret_start(&command, &argument);
            is_secret = start == Some(argument.len());
            shown.push(match start {
                Some(start) if !is_secret => format!("{}{HIDDEN}", &argument[..start]),
                _ => argument,
            });
        }
    }
    shown
}

/// Where the value of a secret option begins in an argument: at its end if it is the next one.
fn secret_start(command: &Command, argument: &str) -> Option<usize> {
    if let Some(long) = argument.strip_prefix("--") {
        let name = long.split('=').next()?;
        let end = "--".len() + name.len();
        let has_value = end < argument.len();
        return SECRETS.contains(&name).then_some(if has_value { end + 1 } else { end });
    }
    // Short options without a value may stand before one that has one, in the same argument.
    let letters = argument.strip_prefix('-')?;
    for (place, letter) in letters.char_indices() {
        let option = command.get_arguments().find(|option| option.get_short() == Some(letter))?;
        if !option.get_action().takes_values() {
            continue;
        }
        let end = "-".len() + place + letter.len_utf8();
        let has_sign = argument[end..].starts_with('=');
        return is_secret(option).then_some(if has_sign { end + 1 } else { end });
    }
    None
}

fn is_secret(option: &Arg) -> bool {
    option.get_long().is_some_and(|name| SECRETS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_let_somebody_in_are_hidden() {
        for (given, expected) in [
            ("-c 5 --user me:secret ws://a/", "-c 5 --user *** ws://a/"),
            ("--user=me:secret -c 5", "--user=*** -c 5"),
            ("--bearer secret --cookie=a=secret", "--bearer *** --cookie=***"),
            ("--header X:secret --key secret", "--header *** --key ***"),
            ("-H X:secret -HX:secret -H=X:secret", "-H *** -H*** -H=***"),
            ("-qH X:secret -q4HX:secret", "-qH *** -q4H***"),
            ("-d 1s -dH --user", "-d 1s -dH --user"),
            ("--user -- --user secret", "--user *** --user ***"),
            ("-q -- --user ws://a/", "-q -- --user ws://a/"),
            ("--users x -x y - --", "--users x -x y - --"),
        ] {
            let hidden = hide(given.split(' ').map(str::to_owned));
            assert_eq!(hidden.join(" "), expected);
        }
    }

    #[test]
    fn options_that_are_secret_exist() {
        let command = Arguments::command();
        for name in SECRETS {
            assert!(command.get_arguments().any(|option| option.get_long() == Some(name)));
        }
    }
}
