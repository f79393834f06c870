//! docs/LOADTESTING.md says what there is: its options, its scenario, and the fields of the JSON.

mod support;

use std::{collections::BTreeSet, fs, path::Path, process::Command, sync::Mutex, thread};

use serde_json::Value;
use support::{echo, results, serve_all};

const GUIDE: &str = include_str!("../../docs/LOADTESTING.md");

/// Cargo's own options.
const OTHERS: [&str; 2] = ["--release", "--path"];

fn help(arguments: &[&str]) -> String {
    let program = env!("CARGO_BIN_EXE_wireloop-bench");
    let output = Command::new(program).args(arguments).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The long options that a text names.
fn options(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
    let words = text.split(|c: char| !is_name(c));
    words.filter(|word| word.starts_with("--") && !word.trim_matches('-').is_empty()).collect()
}

#[test]
fn options_of_the_guide_exist() {
    let help = [help(&["--help=all"]), help(&["compare", "--help"])].concat();
    let mut known = options(&help);
    known.extend(OTHERS);
    let named = options(GUIDE);
    assert!(named.len() > 30, "{named:?}");
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "the guide names options that do not exist: {unknown:?}");
}

/// What the tests of this package give on command lines; in `src`, below `#[cfg(test)]`.
fn tested() -> String {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    let mut directories = vec![package.join("src"), package.join("tests")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
                continue;
            }
            let file = fs::read_to_string(&path).unwrap();
            let is_source = path.starts_with(package.join("src"));
            text += match file.split_once("#[cfg(test)]") {
                Some((_, tests)) if is_source => tests,
                _ if is_source => "",
                _ => &file,
            };
        }
    }
    text
}

#[test]
fn each_option_has_a_test() {
    let help = help(&["--help=all"]);
    let tested = tested();
    let names = options(&tested);
    let untested: Vec<_> = help
        .lines()
        .filter_map(|line| {
            let line = line.trim_start();
            let short = line.strip_prefix('-')?.chars().next().filter(|name| *name != '-');
            let long = *options(line).first()?;
            let is_used = |name: char| tested.contains(&format!("-{name} "));
            (!names.contains(long) && !short.is_some_and(is_used)).then_some(long)
        })
        .collect();
    assert!(untested.is_empty(), "no test gives {untested:?}");
}

#[test]
fn the_scenario_of_the_guide_runs() {
    let (_, rest) = GUIDE.split_once("```toml\n").unwrap();
    let (scenario, _) = rest.split_once("```").unwrap();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("scenario.toml");
    fs::write(&path, scenario).unwrap();
    let results = results(&format!("--scenario {} -d 1s", path.display()));
    let names: Vec<_> =
        results["groups"].as_array().unwrap().iter().map(|group| &group["name"]).collect();
    assert_eq!(names, ["holders", "talkers", "slow"]);
    assert_eq!(results["thresholds"].as_array().unwrap().len(), 2);
    assert_eq!(results["tally"]["groups"][2]["opened"], 5);
}

#[test]
fn each_field_of_the_schema_is_explained() {
    let url = serve_all(4, |stream| echo(stream, |_, _| ()));
    let loads = [
        String::from("-c 1 --threshold errors==0"),
        "-c 4 --publishers 1 -R 100 --drain 300ms".into(),
        "-c 2 --find-max p50<1us --probe 100ms --repeats 1 -R 10".into(),
        format!("-c 2 -d 2s --slice 20ms --versus {url} {url}"),
    ];
    // Only the names count, not the figures.
    let fields = Mutex::new(BTreeSet::new());
    thread::scope(|scope| {
        for arguments in &loads {
            scope.spawn(|| {
                let results = results(arguments);
                collect(&results, &mut fields.lock().unwrap());
            });
        }
    });
    let fields = fields.into_inner().unwrap();
    for field in ["fan_out", "confirms", "is_real"] {
        assert!(fields.contains(field), "{field} was not seen");
    }
    let is_told = |field: &&String| {
        let name = format!("{field}`");
        GUIDE.contains(&format!("`{name}")) || GUIDE.contains(&format!(".{name}"))
    };
    // A close code is no name.
    let fields = fields.iter().filter(|field| field.parse::<u16>().is_err());
    let missing: Vec<_> = fields.filter(|field| !is_told(field)).collect();
    assert!(missing.is_empty(), "the guide does not explain {missing:?}");
}

fn collect(value: &Value, fields: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| {
            fields.insert(name.clone());
            collect(value, fields);
        }),
        Value::Array(values) => values.iter().for_each(|value| collect(value, fields)),
        _ => {}
    }
}
