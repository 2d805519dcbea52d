//! Settings: plain values, one parser and one table. The order of the sources is: flag, `DYAD_*` variable, dyad.toml,
//! the names that Nacos gives them, default. A bad value is an error that names the setting, its source and the rule.
//! No value is ever replaced silently.

mod check;
mod members;
pub(crate) mod memory;
mod parse;
pub mod place;
mod problem;
mod secret;
mod show;
mod sources;
mod table;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(crate) use members::parse_member;
pub use members::{MEMBERS_MAX, MemberAddr};
pub use problem::{Problem, SettingsError};
pub use secret::Secret;
pub use show::Shown;
pub use sources::{Inputs, Source};
pub use table::{Row, TABLE};

use sources::Sources;
use table::row;

/// All settings of a server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Address of the HTTP port.
    pub bind: IpAddr,
    /// HTTP port; 0 is any free one.
    pub port: u16,
    /// Port of the gRPC SDKs; 0 is any free one.
    pub grpc_port: u16,
    /// Port between members; 0 is any free one. Opened only when `cluster_token` is set.
    pub cluster_port: u16,
    /// All members, this one among them; empty is standalone.
    pub members: Vec<MemberAddr>,
    /// Which of `members` this one is; none if it has to find out by asking them. Standalone: the address that clients
    /// are shown, if one was given.
    pub advertise: Option<MemberAddr>,
    /// Whether this member joins without a vote. Default false.
    pub learner: bool,
    /// The highest level of the replicated state to which this member agrees. Default: the newest that this build knows.
    pub level: u32,
    pub cluster_token: Option<Secret>,
    pub data_dir: PathBuf,
    pub log_format: LogFormat,
    /// Directives as tracing-subscriber's `EnvFilter` reads them.
    pub log_level: String,
    /// The HTTP port may be reachable from the network although nobody has to log in.
    pub insecure: bool,
    /// Nacos's `nacos.naming.expireInstance`: ephemeral instances whose beats stopped are removed, not only marked.
    pub expire_instance: bool,
    /// So long has a member more than its share of the gRPC clients before it sends some away, and so long is a client here
    /// before it may be among them. `None`: clients stay where they are.
    pub rebalance_after: Option<Duration>,
    /// Bytes; persistent writes are refused while the disk has less free. 0 switches the check off. `None`: what fits the disk.
    pub min_free_disk: Option<u64>,
    /// Bytes that the process may use; `None`: what the machine or its cgroup has.
    pub memory: Option<u64>,
    pub config: ConfigSettings,
    pub backup: BackupSettings,
    pub limits: Limits,
    /// What the log says at each start: a risk that was accepted, a variable without effect.
    pub warnings: Vec<String>,
    /// Every setting as text with its source, in the table's order.
    pub shown: Vec<Shown>,
}

/// The configuration center.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigSettings {
    /// Versions older than so many days leave the history; the content that is released stays.
    pub retention_days: u64,
    /// Versions of one configuration, gray releases included, that stay at most.
    pub history_max: u32,
    /// Bytes of the versions of all configurations that stay at most, without what is released.
    pub history_bytes: u64,
    /// Nacos's `isCapacityLimitCheck`: publishes over a quota are refused.
    pub quotas: bool,
}

/// Backups by the clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupSettings {
    /// The time between two. `None`: none are made.
    pub every: Option<Duration>,
    /// Files of this cluster that stay in the directory.
    pub keep: usize,
    /// Where they go. `None`: `backups` in the data directory.
    pub dir: Option<PathBuf>,
}

/// Bounds on what clients may send and the registry may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request body; more is 413.
    pub body: usize,
    /// Bytes of a form under /v1/ns; more is 413.
    pub form: usize,
    /// Bytes of the request line and headers; more is 431 or 414.
    pub headers: usize,
    /// Until the headers are read; then 408.
    pub header_read: Duration,
    /// Until the body is read; then 408.
    pub body_read: Duration,
    /// HTTP connections at a time; more are refused.
    pub connections: usize,
    /// Connections on the gRPC port at a time; more are refused.
    pub grpc_connections: usize,
    /// Instances in all; more is 429.
    pub instances: usize,
    /// Services in all; more is 429.
    pub services: usize,
    /// Instances of one service; more is 429.
    pub instances_per_service: usize,
    /// Characters of the metadata of an instance; more is 400.
    pub metadata: usize,
    /// Entries of one page of a listing; a larger page is cut.
    pub page: usize,
}

/// Form of the log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Text,
    Json,
}

impl Settings {
    /// Reads and checks every setting.
    ///
    /// # Errors
    /// All problems at once.
    pub fn load(inputs: &Inputs) -> Result<Settings, SettingsError> {
        let mut from = Sources::collect(inputs);
        let bind = from.read(row("bind"), |text| text.parse().ok());
        let port = from.read(row("port"), parse::port);
        let insecure = from.read(row("insecure"), parse::boolean);
        check::bind(&mut from, bind, insecure);
        let members = check::members(&mut from, port);
        let advertise = check::advertise(&mut from, &members, port);
        let cluster_token = check::token(&mut from, &members);
        let cluster_port = check::cluster_port(&mut from, port, cluster_token.is_some());
        let grpc_port = check::grpc_port(&mut from, port);
        check::mode(&mut from, &members);
        // Alone, this server's own cluster port is the one that others will dial.
        let own_port = |own: MemberAddr| MemberAddr { cluster_port, ..own };
        let advertise = if members.is_empty() { advertise.map(own_port) } else { advertise };
        let backup_every = from.read(row("backup.every"), parse::period_or_off);
        let mut settings = Settings {
            bind,
            port,
            grpc_port,
            cluster_port,
            members,
            advertise,
            learner: from.read(row("learner"), parse::boolean),
            level: from.read(row("level"), parse::level),
            cluster_token,
            data_dir: check::data_dir(&mut from),
            log_format: from.read(row("log_format"), log_format),
            log_level: from.read(row("log_level"), parse::log_level),
            insecure,
            expire_instance: from.read(row("expire_instance"), parse::boolean),
            rebalance_after: from.read(row("rebalance_after"), parse::time_or_off),
            min_free_disk: from.read(row("min_free_disk"), parse::disk_size),
            memory: from.read(row("memory"), parse::memory),
            config: ConfigSettings {
                retention_days: from.read(row("config.retention_days"), parse::days),
                history_max: from.read(row("config.history_max"), parse::versions),
                history_bytes: from.read(row("config.history_bytes"), parse::history_size),
                quotas: from.read(row("config.quotas"), parse::boolean),
            },
            backup: BackupSettings {
                every: backup_every,
                keep: from.read(row("backup.keep"), parse::kept),
                dir: check::backup_dir(&mut from, backup_every),
            },
            limits: Limits::read(&mut from),
            warnings: Vec::new(),
            shown: Vec::new(),
        };
        if !from.problems.is_empty() {
            return Err(SettingsError(from.problems));
        }
        settings.shown = show::all(&settings, &from);
        settings.warnings = std::mem::take(&mut from.warnings);
        Ok(settings)
    }

    /// What else `port` is in this cluster, when it is a port of another member on this host: members whose HTTP ports
    /// follow each other collide, for the cluster port of the first is where the SDKs look for the second. For
    /// messages.
    pub fn claimed(&self, port: u16) -> Option<String> {
        let own = |member: &&MemberAddr| match &self.advertise {
            Some(own) => *member == own,
            None => member.port == self.port,
        };
        let here: Vec<&str> = self.members.iter().filter(own).map(|member| member.host.as_str()).collect();
        let others =
            self.members.iter().filter(|member| !own(member) && here.contains(&member.host.as_str()));
        let claim = |member: &MemberAddr| {
            let sdk = member.port.checked_add(check::GRPC_PORT_OFFSET);
            let what = match port {
                port if port == member.port => "HTTP port".to_owned(),
                port if Some(port) == sdk => format!("SDK port (port + {})", check::GRPC_PORT_OFFSET),
                port if port == member.cluster_port => "cluster port".to_owned(),
                _ => return None,
            };
            Some(format!(
                "{port} is the {what} of {} too: give the members of one host ports ten apart, or set cluster_port",
                member.http()
            ))
        };
        others.filter_map(claim).next()
    }

    /// No members are configured: a cluster of one.
    pub fn standalone(&self) -> bool {
        self.members.is_empty()
    }
}

impl Limits {
    fn read(from: &mut Sources<'_>) -> Limits {
        Limits {
            body: from.read(row("limits.body"), parse::request_size),
            form: from.read(row("limits.form"), parse::request_size),
            headers: from.read(row("limits.headers"), parse::header_size),
            header_read: from.read(row("limits.header_read"), parse::duration),
            body_read: from.read(row("limits.body_read"), parse::duration),
            connections: from.read(row("limits.connections"), parse::count),
            grpc_connections: from.read(row("limits.grpc_connections"), parse::count),
            instances: from.read(row("limits.instances"), parse::count),
            services: from.read(row("limits.services"), parse::count),
            instances_per_service: from.read(row("limits.instances_per_service"), parse::count),
            metadata: from.read(row("limits.metadata"), parse::count),
            page: from.read(row("limits.page"), parse::count),
        }
    }
}

fn log_format(text: &str) -> Option<LogFormat> {
    match text.to_ascii_lowercase().as_str() {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    }
}
