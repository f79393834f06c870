//! A scenario file: several groups of connections that run at once. It is the command line in
//! another form. Each key is the name of a long option; those of the run stand at the top, those of
//! a group in its table `[group.NAME]`, and those of groups at the top are for all of them:
//!
//! ```toml
//! duration = "1m"
//! url = "ws://127.0.0.1:8181/echo"
//!
//! [group.holders]
//! connections = 10000
//! rate = 100
//!
//! [group.talkers]
//! connections = 200
//! depth = 4
//! ```
//!
//! What is given on the command line too has precedence.

use std::{fs, path::Path};

use clap::{ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use toml::{Table, Value};

use crate::cli::{Arguments, GroupArguments, RunArguments};

/// Groups with their names. A single one that has none has the empty one.
pub(crate) type Groups = Vec<(String, GroupArguments)>;

/// What is to be done, by whom.
#[derive(Debug)]
pub(crate) struct Scenario {
    pub(crate) run: RunArguments,
    pub(crate) groups: Groups,
}

impl Scenario {
    /// What the command line says, and the file that it names, if it does.
    pub(crate) fn read(matches: &ArgMatches, arguments: Arguments) -> Result<Self, String> {
        let Some(path) = &arguments.run.scenario else {
            let groups = vec![(String::new(), arguments.group)];
            return Ok(Self { run: arguments.run, groups });
        };
        let complain = |error: String| format!("{}: {error}", path.display());
        let mut file = read_table(path).map_err(complain)?;
        let tables = match file.remove("group") {
            Some(Value::Table(groups)) if !groups.is_empty() => groups,
            _ => return Err(complain("name at least one group, as [group.NAME]".into())),
        };
        let (run, defaults): (Table, Table) =
            file.into_iter().partition(|(key, _)| has_option::<RunArguments>(key));
        let run = read::<RunArguments>(&run, matches).map_err(complain)?;
        let mut groups = Vec::new();
        for (name, table) in tables {
            let Value::Table(own) = table else {
                return Err(complain(format!("{name} is not a table: write [group.{name}]")));
            };
            let mut options = defaults.clone();
            options.extend(own);
            let group = read::<GroupArguments>(&options, matches)
                .map_err(|error| complain(format!("group {name}: {error}")))?;
            groups.push((name, group));
        }
        Ok(Self { run, groups })
    }
}

fn read_table(path: &Path) -> Result<Table, String> {
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(1, |span| text[..span.start].lines().count().max(1));
        format!("line {line}: {}", error.message())
    })
}

/// The options that the type knows.
fn command<T: Args>() -> Command {
    T::augment_args(Command::new("scenario"))
}

fn has_option<T: Args>(name: &str) -> bool {
    command::<T>().get_arguments().any(|option| option.get_long() == Some(name))
}

/// Reads options from a table, and from what was given on the command line.
fn read<T: Args + FromArgMatches>(table: &Table, given: &ArgMatches) -> Result<T, String> {
    let known = command::<T>();
    let mut words = Vec::new();
    for (key, value) in table {
        let mut option = known.get_arguments().filter(|option| !option.is_hide_set());
        let name = |option: &clap::Arg| option.get_long().map(str::to_owned);
        let is_given = option.find(|option| {
            name(option).as_deref() == Some(key) || option.is_positional() && option.get_id() == key
        });
        let Some(option) = is_given else { return Err(format!("there is no option {key}")) };
        if was_given(given, option.get_id().as_str()) {
            continue;
        }
        push(&mut words, (!option.is_positional()).then_some(key), value)?;
    }
    for option in known.get_arguments() {
        let id = option.get_id().as_str();
        if was_given(given, id) {
            let values = given.get_raw(id).into_iter().flatten();
            let long = option.get_long().map(|name| format!("--{name}"));
            if !option.get_action().takes_values() {
                words.extend(long);
                continue;
            }
            for value in values {
                let value = value.to_string_lossy();
                words.push(match &long {
                    Some(name) => format!("{name}={value}"),
                    None => value.into_owned(),
                });
            }
        }
    }
    // Those of the run and of groups may name one another.
    let all = GroupArguments::augment_args(command::<RunArguments>());
    let all = all.no_binary_name(true).disable_help_flag(true).args_override_self(true);
    let matches = all.try_get_matches_from(words).map_err(|error| {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        first.trim_start_matches("error: ").to_owned()
    })?;
    T::from_arg_matches(&matches).map_err(|error| error.to_string())
}

fn was_given(given: &ArgMatches, id: &str) -> bool {
    let is_known = given.try_contains_id(id).unwrap_or(false);
    is_known && given.value_source(id) == Some(ValueSource::CommandLine)
}

/// The words of the command line that say the same.
fn push(words: &mut Vec<String>, key: Option<&String>, value: &Value) -> Result<(), String> {
    let text = match value {
        Value::Boolean(true) => {
            words.extend(key.map(|key| format!("--{key}")));
            return Ok(());
        }
        Value::Boolean(false) => return Ok(()),
        Value::Array(values) => {
            return values.iter().try_for_each(|value| push(words, key, value));
        }
        Value::String(text) => text.clone(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => return Err(format!("a {} is not a value of an option", other.type_str())),
    };
    words.push(key.map_or_else(|| text.clone(), |key| format!("--{key}={text}")));
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use clap::CommandFactory;

    use super::*;

    fn scenario(text: &str, arguments: &[&str]) -> Result<Scenario, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let path = file.path().to_str().unwrap();
        let words = [&["wireloop-bench", "--scenario", path], arguments].concat();
        let matches = Arguments::command().get_matches_from(words);
        let arguments = Arguments::from_arg_matches(&matches).unwrap();
        Scenario::read(&matches, arguments).map_err(|error| error.replace(path, "FILE"))
    }

    const TWO: &str = r#"
        duration = "90s"
        url = "ws://127.0.0.1:1/"
        size = 100
        [group.holders]
        connections = 5000
        rate = 12.5
        [group.talkers]
        size = "16k"
        stage = ["1s:5", "2s:10k"]
        text = true
    "#;

    #[test]
    fn groups_have_their_own_options_and_those_for_all() {
        let Scenario { run, groups } = scenario(TWO, &[]).unwrap();
        assert_eq!(run.duration.unwrap().as_secs(), 90);
        let [(one, holders), (two, talkers)] = &groups[..] else { panic!("{groups:?}") };
        assert_eq!((one.as_str(), two.as_str()), ("holders", "talkers"));
        assert_eq!(holders.load.connections.get(), 5000);
        assert_eq!((holders.load.rate, holders.payload.text), (Some(12.5), false));
        assert_eq!(talkers.load.stages.len(), 2);
        assert!(talkers.payload.text);
        assert_eq!(talkers.url.as_deref(), Some("ws://127.0.0.1:1/"));
    }

    #[test]
    fn the_command_line_has_precedence() {
        let Scenario { run, groups } =
            scenario(TWO, &["-d", "1s", "ws://127.0.0.1:2/", "-c", "7"]).unwrap();
        assert_eq!(run.duration.unwrap().as_secs(), 1);
        for (_, group) in groups {
            assert_eq!(group.url.as_deref(), Some("ws://127.0.0.1:2/"));
            assert_eq!(group.load.connections.get(), 7);
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        for (text, error) in [
            ("duration = ", "FILE: line 1: "),
            ("duration = \"1s\"", "FILE: name at least one group, as [group.NAME]"),
            ("[group.a]\nconnection = 5", "FILE: group a: there is no option connection"),
            ("wrong = 1\n[group.a]", "FILE: group a: there is no option wrong"),
            ("[group.a]\nrate = \"x\"", "FILE: group a: invalid value 'x' for '--rate <RATE>'"),
            ("duration = 5\n[group.a]", "FILE: invalid value '5' for '--duration <TIME>'"),
            ("[group.a]\ndepth = 2\nrate = 5", "FILE: group a: the argument '--"),
        ] {
            let found = scenario(text, &[]).unwrap_err();
            assert!(found.starts_with(error), "{found}");
        }
    }
}
