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

/// The group and the namespace of a data id.
#[derive(Clone, Debug, Args)]
pub struct PlaceArgs {
    /// The group of the configuration
    #[arg(short, long, default_value = "DEFAULT_GROUP")]
    pub group: String,
    /// The namespace of the configuration
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
}

/// One configuration.
#[derive(Clone, Debug, Args)]
pub struct KeyArgs {
    /// The data id of the configuration
    pub data_id: String,
    #[command(flatten)]
    pub place: PlaceArgs,
}

#[derive(Clone, Debug, Args)]
pub struct GetArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// Ask a majority first, so that nothing older is printed than what any member acknowledged before
    #[arg(long, conflicts_with_all = ["nid", "gray"])]
    pub consistent: bool,
    /// Print the version with this number (`dyad config history` lists the numbers)
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
    /// The file with the content; without it, or with -, standard input is read
    pub file: Option<PathBuf>,
    /// Create the namespace, with its id as its name, if it does not exist
    #[arg(long)]
    pub create_namespace: bool,
    /// Publish only if the current content has this md5; current: the md5 that it has when the command starts; absent:
    /// only if there is none
    #[arg(long, value_name = "MD5|current|absent")]
    pub cas: Option<String>,
    /// Type of the content [default: that of the extension of the data id or the file; otherwise as before; otherwise text]
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Description [default: as before]
    #[arg(long, value_name = "TEXT")]
    pub desc: Option<String>,
    /// Application [default: as before]
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// Tags, separated by commas [default: as before]
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// The reason, which the history shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
    /// Publish only for clients with these addresses, separated by commas
    #[arg(long, value_name = "IPS", conflicts_with_all = ["tag", "gray"])]
    pub beta_ips: Option<String>,
    /// Publish only for clients with this tag
    #[arg(long, value_name = "TAG", conflicts_with = "gray")]
    pub tag: Option<String>,
    /// Publish a gray release of this name, for the clients that fit --rule
    #[arg(long, value_name = "NAME", requires = "rule")]
    pub gray: Option<String>,
    /// Rule over the labels of clients, such as region=eu-1,eu-2&&tier=web
    #[arg(long, value_name = "RULE", requires = "gray")]
    pub rule: Option<String>,
    /// Gray releases with a higher priority are checked first
    #[arg(long, value_name = "N", default_value_t = 0, requires = "gray", allow_negative_numbers = true)]
    pub priority: i32,
}

#[derive(Clone, Debug, Args)]
pub struct RmArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// Remove only the gray release of this name: beta, tag_TAG, or one of your own
    #[arg(long, value_name = "NAME")]
    pub gray: Option<String>,
    /// Succeed even if there is nothing to remove
    #[arg(short, long)]
    pub force: bool,
    /// The reason, which the history shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// Which configurations of a listing. In all patterns `*` stands for any characters.
#[derive(Clone, Debug, Args)]
pub struct FilterArgs {
    /// Group, or a pattern of groups [default: all]
    #[arg(short, long, value_name = "PATTERN")]
    pub group: Option<String>,
    /// Application, or a pattern of applications
    #[arg(long, value_name = "PATTERN")]
    pub app: Option<String>,
    /// Only configurations with one of these tags, separated by commas
    #[arg(long, value_name = "TAGS")]
    pub tags: Option<String>,
    /// Only configurations with one of these types, separated by commas
    #[arg(long = "type", value_name = "TYPES")]
    pub kinds: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct LsArgs {
    /// Data id, or a pattern in which `*` stands for any characters [default: all]
    pub pattern: Option<String>,
    /// The namespace to list
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
pub struct GrepArgs {
    /// The text to search for; `*` stands for any characters
    pub text: String,
    /// The namespace to search in [default: all namespaces]
    #[arg(short, long, value_name = "ID")]
    pub namespace: Option<String>,
    /// Data id, or a pattern of data ids
    #[arg(long, value_name = "PATTERN")]
    pub data_id: Option<String>,
    #[command(flatten)]
    pub filter: FilterArgs,
}

#[derive(Clone, Debug, Args)]
pub struct DiffArgs {
    /// The data id of the configuration; with --with, a pattern of data ids
    #[arg(required_unless_present = "with")]
    pub data_id: Option<String>,
    /// Compare with this file; - means standard input
    #[arg(conflicts_with_all = ["to", "with"])]
    pub file: Option<PathBuf>,
    /// The group of the configuration [default: DEFAULT_GROUP; with --with all groups]
    #[arg(short, long)]
    pub group: Option<String>,
    /// The namespace of the configurations
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// The older version [default: the version before --to; with a file, the newest version]
    #[arg(long, value_name = "NID")]
    pub from: Option<u64>,
    /// The newer version [default: the newest version]
    #[arg(long, value_name = "NID")]
    pub to: Option<u64>,
    /// Compare with this namespace
    #[arg(long, value_name = "ID", conflicts_with_all = ["from", "to"])]
    pub with: Option<String>,
    /// Show only the names of what is different
    #[arg(long, requires = "with")]
    pub brief: bool,
    /// End with exit code 8 if something is different
    #[arg(long)]
    pub exit_code: bool,
}

#[derive(Clone, Debug, Args)]
pub struct HistoryArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// Most versions to list
    #[arg(long, value_name = "N", default_value_t = 50)]
    pub limit: usize,
}

#[derive(Clone, Debug, Args)]
pub struct RollbackArgs {
    #[command(flatten)]
    pub key: KeyArgs,
    /// The number of the version to publish again (`dyad config history` lists the numbers)
    pub nid: u64,
    /// The reason, which the history shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

/// The format in which an archive says something about its items. The old format keeps applications only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    New,
    Old,
}

#[derive(Clone, Debug, Args)]
pub struct ExportArgs {
    /// The archive to write; - means standard output
    pub file: PathBuf,
    /// The namespace to export
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// The group of the configurations [default: all groups]
    #[arg(short, long)]
    pub group: Option<String>,
    /// Data id, or a pattern in which `*` stands for any characters
    #[arg(long, value_name = "PATTERN")]
    pub data_id: Option<String>,
    /// Only the configurations of this application
    #[arg(long, value_name = "NAME")]
    pub app: Option<String>,
    /// The format of what the archive says about its configurations
    #[arg(long, value_enum, default_value_t = Format::New, value_name = "FORMAT")]
    pub format: Format,
}

/// What an import does with a configuration that exists already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Policy {
    /// End there; the configurations before it in the archive have been published
    Abort,
    Skip,
    Overwrite,
}

#[derive(Clone, Debug, Args)]
pub struct ImportArgs {
    /// The archive to read; - means standard input
    pub file: PathBuf,
    /// The namespace to import into
    #[arg(short, long, default_value = "public", value_name = "ID")]
    pub namespace: String,
    /// What to do with a configuration that exists already
    #[arg(long, value_enum, default_value_t = Policy::Abort, value_name = "POLICY")]
    pub policy: Policy,
    /// Write nothing and show what would be different; end with exit code 7 if the import would end early
    #[arg(long)]
    pub dry_run: bool,
    /// With --dry-run, end with exit code 8 if something would be different
    #[arg(long, requires = "dry_run")]
    pub exit_code: bool,
    /// The reason, which the history shows
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub reason: String,
}

#[derive(Clone, Debug, Args)]
pub struct WatchArgs {
    /// The data ids of the configurations, all of one group
    #[arg(required = true, num_args = 1..)]
    pub data_ids: Vec<String>,
    #[command(flatten)]
    pub place: PlaceArgs,
    /// End after the first change
    #[arg(long)]
    pub once: bool,
}
