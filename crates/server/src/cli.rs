//! The command line. The flags of settings are generated from the table of settings, all as text. One parser reads
//! settings from any source, so a bad flag gives the same message as a bad variable.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Parser, Subcommand};
use dyad_cli::RemoteArgs;
use dyad_cli::backup::PublishArgs;
use dyad_cli::bench::BenchArgs;
use dyad_cli::config::ConfigArgs;
use dyad_cli::ns::NsArgs;
use dyad_cli::output::Output;

use crate::settings::{Inputs, Row, TABLE};

/// A service registry and configuration center that speaks Nacos.
#[derive(Debug, Parser)]
#[command(name = "dyad", version, propagate_version = false, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Verb,
}

/// What `dyad` can do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Run a server
    Server(SettingFlags),
    /// Show every setting with its value and source, and check them
    Settings(SettingFlags),
    /// Make a cluster token
    #[command(subcommand)]
    Token(TokenVerb),
    /// Ask the server on this machine whether it is ready; the exit code is 0 if it is and 1 if it is not
    Health(HealthFlags),
    /// Show the cluster, change its members, or drain a member, through the server on this machine
    #[command(subcommand)]
    Cluster(ClusterVerb),
    /// Set the log and the identity of this member aside: it joins its cluster as a new member, or makes a new cluster of what it
    /// has
    Recover(RecoverFlags),
    /// Write the replicated state of the server on this machine to a file, check such a file, or show what is in it
    Backup(BackupFlags),
    /// Make the data directory of a new cluster out of a backup, or publish a part of it in a running cluster
    Restore(RestoreFlags),
    /// Read, publish and watch configurations of a running server
    Config(Box<ConfigArgs>),
    /// List and change the namespaces of a running server
    Ns(NsArgs),
    /// Put load on a server that speaks Nacos, and measure it
    Bench(Box<BenchArgs>),
}

#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Print a fresh token of 256 random bits
    New,
}

#[derive(Debug, Args)]
pub struct HealthFlags {
    /// Ask this URL instead of the readiness check on the configured port
    #[arg(long, value_name = "URL")]
    pub url: Option<String>,
    /// Ask whether the process serves at all, and not whether it is ready
    #[arg(long, conflicts_with = "url")]
    pub live: bool,
    #[command(flatten)]
    pub settings: SettingFlags<Http>,
}

#[derive(Debug, Subcommand)]
pub enum ClusterVerb {
    /// Show the members, the positions in the log, and the state of Distro
    Status(StatusFlags),
    /// Send the gRPC clients of this member to the other members and take in no new ones, until --off or a restart
    Drain(DrainFlags),
    /// Take in the server at this address as a member; it must run with the cluster's token and an empty data directory
    Add(AddFlags),
    /// Remove a member; its clients go to the others
    Remove(MemberFlags),
    /// Take in a server in the place of a member, in one change
    Replace(ReplaceFlags),
    /// Give a member without a vote a vote
    Promote(MemberFlags),
    /// Take the vote of a member: it goes on serving, and decides nothing
    Demote(MemberFlags),
    /// Let another member lead
    TransferLeader(TransferFlags),
}

#[derive(Debug, Args)]
pub struct AddFlags {
    /// Its HTTP address; its cluster port is 1001 above unless given
    #[arg(value_name = "HOST:PORT[/CLUSTER_PORT]")]
    pub address: String,
    /// Take it in without a vote
    #[arg(long)]
    pub learner: bool,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
pub struct MemberFlags {
    /// The member, by its HTTP address or its id as `dyad cluster status` shows them
    #[arg(value_name = "MEMBER")]
    pub member: String,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
pub struct ReplaceFlags {
    /// The member that goes, by its HTTP address or its id
    #[arg(value_name = "OLD")]
    pub old: String,
    /// The HTTP address of the server that comes
    #[arg(value_name = "HOST:PORT[/CLUSTER_PORT]")]
    pub address: String,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
pub struct TransferFlags {
    /// The member that shall lead, by its HTTP address or its id; any other than the present leader if not given
    #[arg(value_name = "MEMBER")]
    pub to: Option<String>,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
pub struct DrainFlags {
    /// End the drain and take in clients again; the clients that went come back only when the members are rebalanced
    #[arg(long)]
    pub off: bool,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
pub struct StatusFlags {
    /// Print text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    pub output: Output,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub struct BackupFlags {
    /// The file to write
    #[arg(required = true)]
    pub file: Option<PathBuf>,
    /// Replace the file if it exists
    #[arg(long)]
    pub force: bool,
    /// Print text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    pub output: Output,
    #[command(flatten)]
    pub settings: SettingFlags<DataDir>,
    #[command(subcommand)]
    pub verb: Option<BackupVerb>,
}

#[derive(Debug, Subcommand)]
pub enum BackupVerb {
    /// Read a whole backup and check every checksum in it, and that everything is there on which the state relies
    Verify(FileFlags),
    /// Show what a backup is of, and how much is in each namespace
    Show(FileFlags),
}

#[derive(Debug, Args)]
pub struct FileFlags {
    /// The backup
    pub file: PathBuf,
    /// Print text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM")]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct RestoreFlags {
    /// The backup
    pub file: PathBuf,
    #[command(flatten)]
    pub part: PublishArgs,
    // Before the flags themselves: these are taken out of what was parsed.
    #[command(flatten)]
    pub remote_given: RemoteGiven,
    #[command(flatten)]
    pub remote: RemoteArgs,
    #[command(flatten)]
    pub settings: SettingFlags<NewDir>,
}

/// Whether the command line itself names a server or an operator, and not only the environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RemoteGiven(pub bool);

impl Args for RemoteGiven {
    fn augment_args(command: Command) -> Command {
        command
    }

    fn augment_args_for_update(command: Command) -> Command {
        command
    }
}

impl FromArgMatches for RemoteGiven {
    fn from_arg_matches(matches: &ArgMatches) -> Result<RemoteGiven, clap::Error> {
        let given = |flag| matches.value_source(flag) == Some(ValueSource::CommandLine);
        Ok(RemoteGiven(given("server") || given("user")))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = RemoteGiven::from_arg_matches(matches)?;
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct RecoverFlags {
    /// Confirm that the log of this member is set aside and that it gets a new identity
    #[arg(long)]
    pub discard: bool,
    /// Go on although no leader answers; what only this disk has comes back from a backup or not at all
    #[arg(long, requires = "discard")]
    pub i_have_a_backup: bool,
    /// Make a new cluster of what this member has, after a majority of the members was lost
    #[arg(long, conflicts_with = "discard")]
    pub new_cluster: bool,
    /// Confirm that the other members do not come back, and that what only they had is lost
    #[arg(long, requires = "new_cluster")]
    pub the_others_are_lost: bool,
    #[command(flatten)]
    pub settings: SettingFlags<DataDirAndOwn>,
}

/// The settings that a command takes as flags, by their keys in the table.
pub trait Taken: Clone + fmt::Debug {
    fn takes(key: &str) -> bool;
}

/// Every setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct All;

/// The settings that say where the HTTP port is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Http;

/// The settings that say where the data directory is, and with it the admin socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDir;

/// The settings that say where the data directory is, who the members are, and which of them is this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataDirAndOwn;

/// The settings that say where a new data directory is to be, and who its member is. The flag `--config` has another meaning where
/// these are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDir;

impl Taken for NewDir {
    fn takes(key: &str) -> bool {
        matches!(key, "data_dir" | "members" | "advertise" | "port")
    }
}

impl Taken for All {
    fn takes(_: &str) -> bool {
        true
    }
}

impl Taken for Http {
    fn takes(key: &str) -> bool {
        matches!(key, "bind" | "port" | "config")
    }
}

impl Taken for DataDir {
    fn takes(key: &str) -> bool {
        matches!(key, "data_dir" | "config")
    }
}

impl Taken for DataDirAndOwn {
    fn takes(key: &str) -> bool {
        // Members that name no port have the own one.
        matches!(key, "data_dir" | "members" | "advertise" | "port" | "config")
    }
}

/// The texts of the flags that were given, by the keys of the settings in the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingFlags<T: Taken = All> {
    given: BTreeMap<&'static str, String>,
    taken: PhantomData<T>,
}

impl<T: Taken> SettingFlags<T> {
    pub fn new(given: BTreeMap<&'static str, String>) -> SettingFlags<T> {
        SettingFlags { given, taken: PhantomData }
    }

    /// Whether no flag was given.
    pub fn is_empty(&self) -> bool {
        self.given.is_empty()
    }

    /// Everything that settings are read from, in this process.
    pub fn inputs(&self) -> Inputs {
        Inputs::from_process(self.given.clone())
    }

    fn rows() -> impl Iterator<Item = &'static Row> {
        TABLE.iter().filter(|row| T::takes(row.key))
    }
}

impl<T: Taken> Args for SettingFlags<T> {
    fn augment_args(command: Command) -> Command {
        command.next_help_heading("Settings").args(Self::rows().map(arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Taken> FromArgMatches for SettingFlags<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<SettingFlags<T>, clap::Error> {
        let given = |row: &Row| matches.get_one::<String>(row.key).map(|text| (row.key, text.clone()));
        Ok(SettingFlags::new(Self::rows().filter_map(given).collect()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = SettingFlags::from_arg_matches(matches)?;
        Ok(())
    }
}

fn arg(row: &'static Row) -> Arg {
    let arg = Arg::new(row.key).long(row.flag).help(help(row)).action(ArgAction::Set);
    if row.value.is_empty() {
        // A switch: `--insecure` alone means true, `--insecure=false` is possible.
        return arg.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true");
    }
    arg.value_name(row.value)
}

fn help(row: &Row) -> String {
    let default = if row.default.is_empty() { "none" } else { row.default };
    format!("{} [env: {}] [default: {default}]", row.help, row.env)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Verb, String> {
        Cli::try_parse_from(line.split(' ')).map(|cli| cli.command).map_err(|error| error.to_string())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn setting_flags_are_texts_by_key() {
        let Ok(Verb::Server(flags)) = parse("dyad server --port x --insecure --limits-page=7 --members a,b")
        else {
            panic!("not read");
        };
        let want = [("port", "x"), ("insecure", "true"), ("limits.page", "7"), ("members", "a,b")];
        assert_eq!(flags.given, want.iter().map(|(key, text)| (*key, (*text).to_owned())).collect());
        let Ok(Verb::Settings(flags)) = parse("dyad settings --insecure=false") else { panic!("not read") };
        assert_eq!(flags.given.get("insecure").map(String::as_str), Some("false"));
        let Ok(Verb::Server(flags)) = parse("dyad server") else { panic!("not read") };
        assert_eq!(flags, SettingFlags::new(BTreeMap::new()));
    }

    /// The flags that a command's help shows, in order.
    fn flags_of(path: &[&str]) -> Vec<String> {
        let mut command = Cli::command();
        command.build();
        let found = path.iter().try_fold(&command, |at, name| at.find_subcommand(name)).unwrap();
        let long = |arg: &Arg| arg.get_long().map(str::to_owned);
        found.get_arguments().filter(|arg| !arg.is_hide_set()).filter_map(long).collect()
    }

    #[test]
    fn commands_take_the_settings_that_they_read_and_no_others() {
        for (path, want) in [
            (&["cluster", "status"][..], &["output", "data-dir", "config", "help"][..]),
            (&["cluster", "drain"], &["off", "data-dir", "config", "help"]),
            (&["health"], &["url", "live", "bind", "port", "config", "help"]),
            (&["backup"], &["force", "output", "data-dir", "config", "help"]),
            (&["backup", "verify"], &["output", "help"]),
            (
                &["restore"],
                &[
                    "namespace",
                    "config",
                    "policy",
                    "dry-run",
                    "exit-code",
                    "reason",
                    "server",
                    "output",
                    "user",
                    "port",
                    "members",
                    "advertise",
                    "data-dir",
                    "help",
                ],
            ),
            (
                &["recover"],
                &[
                    "discard",
                    "i-have-a-backup",
                    "new-cluster",
                    "the-others-are-lost",
                    "port",
                    "members",
                    "advertise",
                    "data-dir",
                    "config",
                    "help",
                ],
            ),
        ] {
            assert_eq!(flags_of(path), want, "{path:?}");
        }
        assert_eq!(flags_of(&["server"]).len(), TABLE.len() + 1);
        let Ok(Verb::Cluster(ClusterVerb::Status(flags))) = parse("dyad cluster status --data-dir /d") else {
            panic!("not read");
        };
        assert_eq!(flags.settings.given.get("data_dir").map(String::as_str), Some("/d"));
    }

    #[test]
    fn a_server_is_given_only_by_the_command_line() {
        for (line, want) in [
            ("dyad restore b --data-dir d", false),
            ("dyad restore b --server http://a", true),
            ("dyad restore b --namespace dev --policy skip --user me", true),
        ] {
            let Ok(Verb::Restore(flags)) = parse(line) else { panic!("{line}") };
            assert_eq!(
                (flags.remote_given.0, flags.part.is_some()),
                (want, line.contains("namespace")),
                "{line}"
            );
        }
    }

    #[test]
    fn bad_lines() {
        for line in [
            "dyad",
            "dyad serve",
            "dyad server --cluster-token x",
            "dyad server --port",
            "dyad token",
            "dyad cluster status --port 1",
            // Without a part these would restore everything, and do nothing of what they say.
            "dyad restore b --dry-run",
            "dyad restore b --dry-run --exit-code",
            "dyad restore b --policy skip",
            "dyad restore b --reason x",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
