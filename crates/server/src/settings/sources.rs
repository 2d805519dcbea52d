//! Where settings come from: flag, `DYAD_*` variable, dyad.toml, Nacos's names. Nothing here reads the process's own
//! environment unless asked to (`Inputs::from_process`), so that tests give their own.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use dyad_cli::SERVER_ENV;

use super::Problem;
use super::table::{Row, TABLE, TOKEN_ENV, nearest};

/// Largest settings file: a thousand times what all settings need.
const FILE_MAX: u64 = 1 << 20;
/// Longest piece of a bad value that an error repeats.
const QUOTE_MAX: usize = 80;

/// Everything outside of the program from which settings are read.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The texts that were given on the command line, by the keys of the table.
    pub flags: BTreeMap<&'static str, String>,
    pub env: HashMap<String, String>,
    /// The directory in which `dyad.toml` is looked for.
    pub dir: PathBuf,
    /// The name of the machine, which is used if `PREFER_HOST_MODE=hostname`.
    pub hostname: String,
}

impl Inputs {
    /// The real environment, the current directory and the name of the machine.
    pub fn from_process(flags: BTreeMap<&'static str, String>) -> Inputs {
        let text = |os: std::ffi::OsString| os.to_string_lossy().into_owned();
        Inputs {
            flags,
            env: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            dir: PathBuf::from("."),
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        }
    }

    /// A variable's value without surrounding space. One that is set but empty counts as unset: compose files and
    /// charts pass empty values for "not given".
    pub(super) fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The name of the flag, without its dashes.
    Flag(&'static str),
    /// A `DYAD_*` variable.
    Env(String),
    /// A key of the settings file.
    File(PathBuf, String),
    /// One of Nacos's names in the environment.
    Nacos(String),
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Flag(flag) => write!(f, "--{flag}"),
            Source::Env(name) | Source::Nacos(name) => f.write_str(name),
            Source::File(file, key) => write!(f, "{}: {key}", file.display()),
            Source::Default => f.write_str("default"),
        }
    }
}

/// One value as text, with its source.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) text: String,
    pub(super) source: Source,
}

/// The texts of all settings that are given anywhere, each from its highest source.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub(super) inputs: &'a Inputs,
    found: BTreeMap<&'static str, Found>,
    pub(super) problems: Vec<Problem>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Sources<'a> {
    pub(super) fn collect(inputs: &'a Inputs) -> Sources<'a> {
        let mut sources =
            Sources { inputs, found: BTreeMap::new(), problems: Vec::new(), warnings: Vec::new() };
        let mut file = sources.read_file();
        for row in TABLE {
            let found = sources.given(row).or_else(|| file.remove(row.key)).or_else(|| nacos(inputs, row));
            if let Some(found) = found {
                sources.found.insert(row.key, found);
            }
        }
        sources.warn_of_unknown_variables();
        sources
    }

    pub(super) fn found(&self, key: &str) -> Option<&Found> {
        self.found.get(key)
    }

    pub(super) fn source(&self, key: &str) -> Source {
        self.found(key).map_or(Source::Default, |found| found.source.clone())
    }

    /// Reads `key`, or the table's default. A bad value is noted as a problem, and the default stands in for it so that
    /// the other settings are checked too; the caller must not use the result then.
    pub(super) fn read<T>(&mut self, row: &Row, parse: impl Fn(&str) -> Option<T>) -> T {
        if let Some(found) = self.found.get(row.key) {
            match parse(&found.text) {
                Some(value) => return value,
                None => {
                    let why = format!("{} is not valid: want {}", quote(&found.text), row.rule);
                    self.problem(row.key, why);
                }
            }
        }
        parse(row.default).expect("a test parses every default of the table")
    }

    /// Notes what is wrong with `key`, naming its source.
    pub(super) fn problem(&mut self, key: &str, why: impl Into<String>) {
        let source = self.source(key);
        self.problem_from(key, &source.to_string(), why);
    }

    pub(super) fn problem_from(&mut self, key: &str, source: &str, why: impl Into<String>) {
        self.problems.push(Problem { setting: key.to_owned(), source: source.to_owned(), why: why.into() });
    }

    /// The two sources above the settings file.
    fn given(&mut self, row: &Row) -> Option<Found> {
        if let Some(text) = self.inputs.flags.get(row.key) {
            return Some(Found { text: text.trim().to_owned(), source: Source::Flag(row.flag) });
        }
        let text = self.inputs.env(row.env)?;
        if text.starts_with("tcp://") {
            // What Kubernetes puts into DYAD_PORT of every pod beside a service called "dyad".
            self.warnings
                .push(format!("{}={text} is a service link of Kubernetes and has no effect", row.env));
            return None;
        }
        Some(Found { text: text.to_owned(), source: Source::Env(row.env.to_owned()) })
    }

    fn read_file(&mut self) -> BTreeMap<&'static str, Found> {
        let named = match (self.inputs.flags.get("config"), self.inputs.env("DYAD_CONFIG")) {
            (Some(path), _) => Some((PathBuf::from(path), Source::Flag("config"))),
            (None, Some(path)) => Some((PathBuf::from(path), Source::Env("DYAD_CONFIG".to_owned()))),
            (None, None) => None,
        };
        let (path, source) = match named {
            Some(named) => named,
            None => {
                let path = self.inputs.dir.join("dyad.toml");
                if !path.exists() {
                    return BTreeMap::new();
                }
                let path = path.strip_prefix(".").map(Path::to_path_buf).unwrap_or(path);
                (path, Source::Default)
            }
        };
        let text = path.display().to_string();
        self.found.insert("config", Found { text, source: source.clone() });
        match read_text(&path, FILE_MAX) {
            Ok(text) => self.read_toml(&path, &text),
            Err(error) => {
                self.problem("config", format!("{} cannot be read: {error}", path.display()));
                BTreeMap::new()
            }
        }
    }

    fn read_toml(&mut self, path: &Path, text: &str) -> BTreeMap<&'static str, Found> {
        let mut found = BTreeMap::new();
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                self.problem_from("config", &path.display().to_string(), error.to_string().trim_end());
                return found;
            }
        };
        let mut leaves = Vec::new();
        flatten(&table, "", &mut leaves);
        for (key, value) in leaves {
            let source = Source::File(path.to_path_buf(), key.clone());
            let known =
                TABLE.iter().find(|row| row.in_file && (row.key == key || row.nacos.contains(&&*key)));
            let Some(row) = known else {
                let names = TABLE.iter().filter(|row| row.in_file).map(|row| row.key);
                let hint = nearest(&key, names).map(|name| format!("; the nearest key is {name:?}"));
                let why = format!("unknown key{}", hint.unwrap_or_default());
                self.problem_from(&key, &path.display().to_string(), why);
                continue;
            };
            let Some(text) = toml_text(value) else {
                let why = format!("{} is not valid: want {}", type_name(value), row.rule);
                self.problem_from(row.key, &source.to_string(), why);
                continue;
            };
            if text.is_empty() {
                continue;
            }
            if found.insert(row.key, Found { text, source }).is_some() {
                self.problem_from(
                    row.key,
                    &path.display().to_string(),
                    "given twice, under both of its names",
                );
            }
        }
        found
    }

    /// A misspelt variable has no effect; saying so is all that can be done, other programs' variables look alike.
    fn warn_of_unknown_variables(&mut self) {
        let known = || TABLE.iter().map(|row| row.env).chain([TOKEN_ENV, SERVER_ENV]);
        let link = |name: &str| name.contains("_SERVICE_") || name.contains("_PORT_");
        let mut unknown: Vec<&String> =
            self.inputs.env.keys().filter(|name| name.starts_with("DYAD_")).collect();
        unknown.retain(|name| !known().any(|known| known == name.as_str()) && !link(name));
        unknown.sort();
        for name in unknown {
            let hint = nearest(name, known()).map(|near| format!("; the nearest one is {near}"));
            self.warnings.push(format!("{name} is no setting and has no effect{}", hint.unwrap_or_default()));
        }
    }
}

/// Reads a file of at most `max` bytes as UTF-8.
pub(super) fn read_text(path: &Path, max: u64) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(max + 1).read_to_string(&mut text)?;
    if text.len() as u64 > max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("larger than {max} bytes")));
    }
    Ok(text)
}

/// A value for an error message: cut, and with its control characters escaped.
pub(super) fn quote(text: &str) -> String {
    let cut: String = text.chars().take(QUOTE_MAX).collect();
    if cut.len() < text.len() { format!("{cut:?}…") } else { format!("{cut:?}") }
}

fn nacos(inputs: &Inputs, row: &Row) -> Option<Found> {
    row.nacos.iter().find_map(|name| {
        let text = inputs.env(name)?.to_owned();
        Some(Found { text, source: Source::Nacos((*name).to_owned()) })
    })
}

fn flatten<'t>(table: &'t toml::Table, prefix: &str, leaves: &mut Vec<(String, &'t toml::Value)>) {
    for (key, value) in table {
        let path = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            // The parser bounds the depth of nesting.
            toml::Value::Table(inner) => flatten(inner, &path, leaves),
            leaf => leaves.push((path, leaf)),
        }
    }
}

fn type_name(value: &toml::Value) -> String {
    let name = value.type_str();
    if name == "array" { format!("an {name}") } else { format!("a {name}") }
}

fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.trim().to_owned()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(boolean) => Some(boolean.to_string()),
        toml::Value::Array(items) => {
            let items: Option<Vec<&str>> = items.iter().map(toml::Value::as_str).collect();
            items.map(|items| items.join(","))
        }
        _ => None,
    }
}
