//! What is wrong with the settings, as people read it.

use std::fmt;

use dyad_cli::{Exit, Failure};

/// One thing that is wrong with one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub setting: String,
    /// Where the value came from.
    pub source: String,
    /// What is wrong and what a good value is.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "setting {} ({}): {}", self.setting, self.source, self.why)
    }
}

/// Everything that is wrong with the settings, with a line for each problem. The process ends with code 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(pub Vec<Problem>);

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for SettingsError {}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Failure {
        Failure::new(Exit::Settings, error.to_string())
    }
}
