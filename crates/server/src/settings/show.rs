//! `dyad settings`: every value with its source. Of a secret only the length is shown.

use super::Settings;
use super::sources::{Source, Sources};
use super::table::{Row, TABLE, TOKEN_ENV};

/// One line of `dyad settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    pub key: &'static str,
    pub value: String,
    pub source: String,
}

impl Settings {
    /// The lines of `dyad settings`, with key, value and source in columns.
    pub fn to_text(&self) -> String {
        let width = |of: fn(&Shown) -> &str| {
            self.shown.iter().map(|shown| of(shown).chars().count()).max().unwrap_or(0)
        };
        let (keys, values) = (width(|shown| shown.key), width(|shown| &shown.value));
        let line =
            |shown: &Shown| format!("{:keys$}  {:values$}  {}\n", shown.key, shown.value, shown.source);
        self.shown.iter().map(line).collect()
    }
}

pub(super) fn all(settings: &Settings, from: &Sources<'_>) -> Vec<Shown> {
    TABLE.iter().map(|row| shown(row, settings, from)).collect()
}

fn shown(row: &Row, settings: &Settings, from: &Sources<'_>) -> Shown {
    let mut source = from.source(row.key).to_string();
    let given = from.found(row.key).map(|found| found.text.clone());
    let value = match row.key {
        "cluster_port" => {
            if given.is_none() {
                source = "default (port + 1001)".to_owned();
            }
            settings.cluster_port.to_string()
        }
        "grpc_port" => {
            if given.is_none() {
                source = "default (port + 1000)".to_owned();
            }
            settings.grpc_port.to_string()
        }
        "members" => {
            let list: Vec<String> = settings.members.iter().map(ToString::to_string).collect();
            list.join(",")
        }
        "advertise" => {
            if given.is_none() && settings.advertise.is_some() {
                source = "PREFER_HOST_MODE".to_owned();
            }
            settings.advertise.as_ref().map(|member| member.http()).unwrap_or_default()
        }
        "cluster_token_file" => match &settings.cluster_token {
            None => String::new(),
            Some(token) => {
                let by_value =
                    matches!(from.source(row.key), Source::Default | Source::File(..) | Source::Nacos(_))
                        && from.inputs.env(TOKEN_ENV).is_some();
                let file = given.unwrap_or_default();
                if by_value {
                    source = TOKEN_ENV.to_owned();
                }
                let origin = if by_value { TOKEN_ENV } else { &file };
                format!("<set, {} bytes, from {origin}>", token.expose().len())
            }
        },
        "config" => given.unwrap_or_default(),
        _ => given.unwrap_or_else(|| row.default.to_owned()),
    };
    let value = if value.is_empty() { "-".to_owned() } else { value };
    Shown { key: row.key, value, source }
}
