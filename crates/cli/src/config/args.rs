//! The command lines of `dyad config`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::remote::RemoteArgs;

#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    #[command(subcommand)]
    pub verb: ConfigVerb,
}

/// What `dyad config` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum ConfigVerb {
    /// Print a configuration, byte for byte
    Get(GetArgs),
    /// Publish a configuration from a file or standard input
    Set(SetArgs),
    /// Remove a configuration, or one of its gray releases
    Rm(RmArgs),
    /// List configurations
    Ls(LsArgs),
    /// Find configurations by a text in their contents
    Grep(GrepArgs),
    /// Show what is different: two versions, a version and a file, or two namespaces
    Diff(DiffArgs),
    /// List the versions of a configuration, the newest first
    History(HistoryArgs),
    /// Publish an older version again
    Rollback(RollbackArgs),
    /// Write configurations to a zip archive
    Export(ExportArgs),
    /// Publish the configurations of a zip archive, in the old or the new format
    Import(ImportArgs),
    /// Print configurations, and every change of them from then on
    Watch(WatchArgs),
}

/// The group and the namespace that a data id is in.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// The group that it is in
    #[arg(short, long, default_value = "DEFAULT_GROUP")]
    pub group: String,
    /// The namespace that it is in
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
}

/// One configuration.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// The name of the configuration
    pub data_id: String,
    #[command(flatten)]
    pub place: PlaceArgs,
}

#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// What was acknowledged before, by any member: asks a majority first
    #[arg(long, conflicts_with_all = ["nid", "gray"])]
    pub consistent: bool,
    /// The version that the write of this number made (`dyad config history`)
    #[arg(long = "version", value_name = "NID", conflicts_with = "gray")]
    pub nid: Option<u64>,
    /// The gray release of this name: beta, tag_TAG, or one of your own
    #[arg(long, value_name = "NAME")]
    pub gray: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct SetArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// The file with the content; standard input without one, or with -
    pub file: Option<PathBuf>,
    /// Only over this md5; over the one that is there as the command starts; or only where nothing is
    #[arg(long, value_name = "MD5|current|absent")]
    pub cas: Option<String>,
    /// Type of the content [default: by the extension of the data id or the file, else as before, else text]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Description [default: as before]
    #[arg(long, value_name = "TEXT")]
    pub desc: Option<String>,
    /// Application [default: as before]
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Tags, by commas [default: as before]
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// Why: shown in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Publish for clients with these addresses only, by commas
    #[arg(long, value_name = "IPS", conflicts_with_all = ["tag", "gray"])]
    pub beta_ips: Option<String>,
    /// Publish for clients with this tag only
    #[arg(long, value_name = "TAG", conflicts_with = "gray")]
    pub tag: Option<String>,
    /// Publish a gray release of this name, for the clients that --rule names
    #[arg(long, value_name = "NAME", requires = "rule")]
    pub gray: Option<String>,
    /// Rule over the labels of clients
    #[arg(long, value_name = "RULE", requires = "gray")]
    pub rule: Option<String>,
    /// Among gray releases, the higher is asked first
    #[arg(long, value_name = "N", default_value_t = 0, requires = "gray", allow_negative_numbers = true)]
    pub priority: i32,
}

#[derive(Clone, Debug, Args)]
pub struct RmArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// Only the gray release of this name: beta, tag_TAG, or one of your own
    #[arg(long, value_name = "NAME")]
    pub gray: Option<String>,
    /// What is not there is no failure
    #[arg(short, long)]
    pub force: bool,
    /// Why: shown in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Which configurations of a listing. In all patterns `*` stands for any characters.
#[derive(Clone, Debug, Args)]
pub struct FilterArgs {
    /// Group, or a pattern of groups [default: all]
    #[arg(short, long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Application
    #[arg(long, value_name = "PATTERN")]
    pub app: Option<String>,
    /// One of these tags, by commas
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// One of these types, by commas
    #[arg(long = "type", value_name = "TYPES")]
    pub kinds: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct LsArgs {
    /// Data id, or a pattern: `*` for any characters [default: all]
    pub pattern: Option<String>,
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
pub struct GrepArgs {
    /// The text; `*` for any characters
    pub text: String,
    /// [default: all namespaces]
    #[arg(short, long, value_name = "ID")]
    pub namespace: Option<String>,
    /// Data id, or a pattern
    #[arg(long, value_name = "PATTERN")]
    pub data_id: Option<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The configuration; with --with a pattern of data ids
    #[arg(required_unless_present = "with")]
    pub data_id: Option<String>,
    /// Compare with this file; - is standard input
    #[arg(conflicts_with_all = ["to", "with"])]
    pub file: Option<PathBuf>,
    /// [default: DEFAULT_GROUP; with --with all groups]
    #[arg(short, long)]
    pub group: Option<String>,
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// The older version [default: the one before --to; with a file the newest]
    #[arg(long, value_name = "NID")]
    pub from: Option<u64>,
    /// The newer version [default: the newest]
    #[arg(long, value_name = "NID")]
    pub to: Option<u64>,
    /// Compare with this namespace
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    pub with: Option<String>,
    /// Names only
    #[arg(long, requires = "with")]
    pub brief: bool,
    /// End with 8 when something is different
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// Versions at most
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// The number of the write to go back to (`dyad config history`)
    pub nid: u64,
    /// Why: shown in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// What an archive says about its items: the old format keeps applications only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    New,
    Old,
}

#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The archive; - is standard output
    pub file: PathBuf,
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// [default: all]
    #[arg(short, long)]
    pub group: Option<String>,
    /// Data id, or a pattern: `*` for any characters
    #[arg(long, value_name = "PATTERN")]
    pub data_id: Option<String>,
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    #[arg(long, value_enum, default_value_t = Format::New, value_name = "FORMAT")]
    pub format: Format,
}

/// What an import does with a configuration that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// End there: what is before it in the archive has been published
    Abort,
    Skip,
    Overwrite,
}

#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The archive; - is standard input
    pub file: PathBuf,
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// When a configuration is there already
    #[arg(long, value_enum, default_value_t = Policy::Abort, value_name = "POLICY")]
    pub policy: Policy,
    /// Write nothing, show what would be different
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run: end with 8 when something would be different
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// Why: shown in the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// The names of the configurations, all of one group
    #[arg(required = true, num_args = 1..)]
    pub data_ids: Vec<String>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// End after the first change
    #[arg(long)]
    pub once: bool,
}
