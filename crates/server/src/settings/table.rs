//! The one table of settings: every name, default and rule stands here and nowhere else. The parser, the command line,
//! `dyad settings` and the test that checks docs/settings.md all read it.

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its name in dyad.toml. A dot separates the name of a TOML table from the key in it: `limits.body`.
    pub key: &'static str,
    /// The long flag of the command line, without its dashes.
    pub flag: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The word that stands for the value in help texts. Empty for a switch, which may be given without a value.
    pub value: &'static str,
    /// The default, in the form in which a user would write it. Empty means that there is none.
    pub default: &'static str,
    /// The names that Nacos gives this setting: environment variables and properties. They rank below dyad.toml.
    pub nacos: &'static [&'static str],
    /// What a good value is, as a noun phrase: error messages say "want" and then quote it.
    pub rule: &'static str,
    /// What the setting does: the text of `--help` and of docs/settings.md.
    pub help: &'static str,
    /// Whether dyad.toml may contain it. Only the setting that names this file itself cannot be in it.
    pub in_file: bool,
}

/// The variable whose value is the cluster token itself. No flag and no key of the file can hold the token, because `ps` and
/// backups would show it.
pub(super) const TOKEN_ENV: &str = "DYAD_CLUSTER_TOKEN";
/// Nacos's variable that says `standalone` or `cluster`. It sets nothing here, but it must agree with the members.
pub(super) const MODE_ENV: &str = "MODE";
/// Nacos's variable that says `ip` or `hostname`.
pub(super) const PREFER_HOST_MODE_ENV: &str = "PREFER_HOST_MODE";

const PLAIN: Row =
    Row { key: "", flag: "", env: "", value: "", default: "", nacos: &[], rule: "", help: "", in_file: true };

const COUNT: &str = "a whole number from 1 to 100000000";
const SIZE: &str = "a size from 1KiB to 1GiB, such as 64KiB or 10MiB, or a number of bytes";
const DURATION: &str = "a duration from 1ms to 1h, such as 500ms, 10s or 1m";
const BOOL: &str = "true or false";
const PORT: &str = "a port from 0 to 65535, 0 for any free one";

/// Every setting, in the order in which `dyad settings` and the documentation show them.
pub const TABLE: &[Row] = &[
    Row {
        key: "bind",
        flag: "bind",
        env: "DYAD_BIND",
        value: "IP",
        default: "127.0.0.1",
        rule: "an IP address; one that is not loopback needs --insecure",
        help: "Address on which the HTTP port and the gRPC port listen",
        ..PLAIN
    },
    Row {
        key: "port",
        flag: "port",
        env: "DYAD_PORT",
        value: "N",
        default: "8848",
        nacos: &["NACOS_APPLICATION_PORT"],
        rule: PORT,
        help: "HTTP port. If the other two are not set, the gRPC port is 1000 above it and the cluster port 1001 above it",
        ..PLAIN
    },
    Row {
        key: "grpc_port",
        flag: "grpc-port",
        env: "DYAD_GRPC_PORT",
        value: "N",
        default: "port + 1000",
        rule: PORT,
        help: "Port for the gRPC of SDKs. SDKs dial 1000 above the HTTP port unless they are told otherwise",
        ..PLAIN
    },
    Row {
        key: "cluster_port",
        flag: "cluster-port",
        env: "DYAD_CLUSTER_PORT",
        value: "N",
        default: "port + 1001",
        rule: PORT,
        help: "Port for the other members, on all IPv4 addresses. It is opened only with a cluster token",
        ..PLAIN
    },
    Row {
        key: "members",
        flag: "members",
        env: "DYAD_MEMBERS",
        value: "LIST",
        nacos: &["NACOS_SERVERS"],
        rule: "a list of host[:port][/cluster_port], separated by commas or spaces, IPv6 in brackets, each member once, at most 64",
        help: "HTTP addresses of all members, this one included. Without it the server runs standalone",
        ..PLAIN
    },
    Row {
        key: "advertise",
        flag: "advertise",
        env: "DYAD_ADVERTISE",
        value: "HOST[:PORT]",
        nacos: &["NACOS_SERVER_IP"],
        rule: "HOST[:PORT] that names exactly one entry of members",
        help: "Which entry of members this server is. Without it the server asks every entry and recognizes itself",
        ..PLAIN
    },
    Row {
        key: "learner",
        flag: "learner",
        env: "DYAD_LEARNER",
        value: "",
        default: "false",
        rule: BOOL,
        help: "Join without a vote, such as in another zone: serve clients, but decide nothing. `dyad cluster promote` gives a vote later",
        ..PLAIN
    },
    Row {
        key: "level",
        flag: "level",
        env: "DYAD_LEVEL",
        value: "LEVEL",
        default: "newest",
        rule: "newest, or a level of the state that this version knows, such as 2",
        help: "Highest level of the replicated state to which this member agrees. A lower one keeps the way back to an older version open",
        ..PLAIN
    },
    Row {
        key: "cluster_token_file",
        flag: "cluster-token-file",
        env: "DYAD_CLUSTER_TOKEN_FILE",
        value: "FILE",
        rule: "a readable file with a token of 32 to 4096 bytes (`dyad token new` prints one)",
        help: "File with the secret that all members share; members need it",
        ..PLAIN
    },
    Row {
        key: "data_dir",
        flag: "data-dir",
        env: "DYAD_DATA_DIR",
        value: "DIR",
        default: "./data",
        rule: "a directory that this process can create or write to",
        help: "Directory of the identity, the log, the contents and the snapshots. A running server locks it",
        ..PLAIN
    },
    Row {
        key: "config",
        flag: "config",
        env: "DYAD_CONFIG",
        value: "FILE",
        default: "./dyad.toml if it exists",
        rule: "a readable TOML file that contains settings of this table",
        help: "The settings file",
        in_file: false,
        ..PLAIN
    },
    Row {
        key: "log_format",
        flag: "log-format",
        env: "DYAD_LOG_FORMAT",
        value: "FORMAT",
        default: "text",
        rule: "text or json",
        help: "Format of the log lines on standard error",
        ..PLAIN
    },
    Row {
        key: "log_level",
        flag: "log-level",
        env: "DYAD_LOG_LEVEL",
        value: "LEVEL",
        default: "info",
        rule: "off, error, warn, info, debug or trace, or a list such as info,dyad_raft=debug",
        help: "Which log lines are written",
        ..PLAIN
    },
    Row {
        key: "insecure",
        flag: "insecure",
        env: "DYAD_INSECURE",
        default: "false",
        rule: BOOL,
        help: "Allow the HTTP and gRPC ports to listen on the network although nobody has to log in",
        ..PLAIN
    },
    Row {
        key: "expire_instance",
        flag: "expire-instance",
        env: "DYAD_EXPIRE_INSTANCE",
        value: "BOOL",
        default: "true",
        nacos: &[
            "nacos.naming.expireInstance",
            "NACOS_NAMING_EXPIREINSTANCE",
            "NACOS_NAMING_EXPIRE_INSTANCE",
        ],
        rule: BOOL,
        help: "Remove ephemeral instances whose heartbeats stopped; with false they are only marked unhealthy",
        ..PLAIN
    },
    Row {
        key: "rebalance_after",
        flag: "rebalance-after",
        env: "DYAD_REBALANCE_AFTER",
        value: "TIME",
        default: "60s",
        rule: "off, or a duration from 1s to 1h, such as 30s or 5m",
        help: "Move gRPC clients to less loaded members after having over 1.2 times the average for this long; off disables it",
        ..PLAIN
    },
    Row {
        key: "min_free_disk",
        flag: "min-free-disk",
        env: "DYAD_MIN_FREE_DISK",
        value: "SIZE",
        default: "auto",
        rule: "auto, or a size from 0 to 1TiB, such as 512MiB, or a number of bytes",
        help: "Refuse persistent writes (configurations too) while the disk of the data directory has less free space; auto is the smaller of 512MiB and a tenth of the disk; 0 disables it",
        ..PLAIN
    },
    Row {
        key: "memory",
        flag: "memory",
        env: "DYAD_MEMORY",
        value: "SIZE",
        default: "all",
        rule: "all, or a size from 128MiB to 16TiB, such as 512MiB or 4GiB, or a number of bytes",
        help: "Memory that the process may use, all is what the machine or its cgroup has; 40 % of it are for requests and answers in flight, and more of them are refused",
        ..PLAIN
    },
    Row {
        key: "config.retention_days",
        flag: "config-retention-days",
        env: "DYAD_CONFIG_RETENTION_DAYS",
        value: "N",
        default: "30",
        nacos: &["nacos.config.retention.days", "NACOS_CONFIG_RETENTION_DAYS"],
        rule: "a whole number of days from 1 to 36500",
        help: "Days for which the history of a configuration keeps a version",
        ..PLAIN
    },
    Row {
        key: "config.history_max",
        flag: "config-history-max",
        env: "DYAD_CONFIG_HISTORY_MAX",
        value: "N",
        default: "1000",
        rule: "a whole number from 1 to 1000",
        help: "Most versions that the history of one configuration keeps",
        ..PLAIN
    },
    Row {
        key: "config.history_bytes",
        flag: "config-history-bytes",
        env: "DYAD_CONFIG_HISTORY_BYTES",
        value: "SIZE",
        default: "8GiB",
        rule: "a size from 1MiB to 16TiB, such as 512MiB or 4GiB, or a number of bytes",
        help: "Most bytes that the histories of all configurations take; beyond them the oldest versions go",
        ..PLAIN
    },
    Row {
        key: "config.quotas",
        flag: "config-quotas",
        env: "DYAD_CONFIG_QUOTAS",
        value: "BOOL",
        default: "false",
        nacos: &["isCapacityLimitCheck"],
        rule: BOOL,
        help: "Refuse configurations that exceed the quota of their namespace or group, or of the cluster",
        ..PLAIN
    },
    Row {
        key: "backup.every",
        flag: "backup-every",
        env: "DYAD_BACKUP_EVERY",
        value: "TIME",
        default: "off",
        rule: "off, or a duration from 1s to 720h, such as 6h",
        help: "Write a backup of the replicated state this often; off disables it",
        ..PLAIN
    },
    Row {
        key: "backup.keep",
        flag: "backup-keep",
        env: "DYAD_BACKUP_KEEP",
        value: "N",
        default: "28",
        rule: "a whole number from 1 to 10000",
        help: "Backups of backup.every that stay; older ones of the same cluster are removed",
        ..PLAIN
    },
    Row {
        key: "backup.dir",
        flag: "backup-dir",
        env: "DYAD_BACKUP_DIR",
        value: "DIR",
        rule: "a directory of this member alone, to which this process can write; it may be absent if its parent is there",
        help: "Directory of the backups of backup.every, without it backups in data_dir; on another disk they survive the loss of this one",
        ..PLAIN
    },
    Row {
        key: "limits.body",
        flag: "limits-body",
        env: "DYAD_LIMITS_BODY",
        value: "SIZE",
        default: "10MiB",
        rule: SIZE,
        help: "Largest request body; a larger one is refused with 413",
        ..PLAIN
    },
    Row {
        key: "limits.form",
        flag: "limits-form",
        env: "DYAD_LIMITS_FORM",
        value: "SIZE",
        default: "64KiB",
        rule: SIZE,
        help: "Largest form under /v1/ns; a larger one is refused with 413",
        ..PLAIN
    },
    Row {
        key: "limits.headers",
        flag: "limits-headers",
        env: "DYAD_LIMITS_HEADERS",
        value: "SIZE",
        default: "16KiB",
        rule: "a size from 8KiB to 1MiB, such as 16KiB, or a number of bytes",
        help: "Largest request line with headers; more is refused with 431, or with 414 if the request line alone is too long",
        ..PLAIN
    },
    Row {
        key: "limits.header_read",
        flag: "limits-header-read",
        env: "DYAD_LIMITS_HEADER_READ",
        value: "TIME",
        default: "10s",
        rule: DURATION,
        help: "Longest time in which a client may send the headers; then the answer is 408",
        ..PLAIN
    },
    Row {
        key: "limits.body_read",
        flag: "limits-body-read",
        env: "DYAD_LIMITS_BODY_READ",
        value: "TIME",
        default: "30s",
        rule: DURATION,
        help: "Longest time in which a client may send the body; then the answer is 408",
        ..PLAIN
    },
    Row {
        key: "limits.connections",
        flag: "limits-connections",
        env: "DYAD_LIMITS_CONNECTIONS",
        value: "N",
        default: "16384",
        rule: COUNT,
        help: "Most HTTP connections at a time; further ones are closed at once",
        ..PLAIN
    },
    Row {
        key: "limits.grpc_connections",
        flag: "limits-grpc-connections",
        env: "DYAD_LIMITS_GRPC_CONNECTIONS",
        value: "N",
        default: "100000",
        rule: COUNT,
        help: "Most connections on the gRPC port at a time; further ones are closed at once",
        ..PLAIN
    },
    Row {
        key: "limits.instances",
        flag: "limits-instances",
        env: "DYAD_LIMITS_INSTANCES",
        value: "N",
        default: "1000000",
        rule: COUNT,
        help: "Most instances in all; further ones are refused with 429",
        ..PLAIN
    },
    Row {
        key: "limits.services",
        flag: "limits-services",
        env: "DYAD_LIMITS_SERVICES",
        value: "N",
        default: "100000",
        rule: COUNT,
        help: "Most services in all; further ones are refused with 429",
        ..PLAIN
    },
    Row {
        key: "limits.instances_per_service",
        flag: "limits-instances-per-service",
        env: "DYAD_LIMITS_INSTANCES_PER_SERVICE",
        value: "N",
        default: "10000",
        rule: COUNT,
        help: "Most instances of one service; further ones are refused with 429",
        ..PLAIN
    },
    Row {
        key: "limits.metadata",
        flag: "limits-metadata",
        env: "DYAD_LIMITS_METADATA",
        value: "N",
        default: "1024",
        rule: COUNT,
        help: "Most characters of all keys and values of an instance's metadata; more is refused with 400",
        ..PLAIN
    },
    Row {
        key: "limits.page",
        flag: "limits-page",
        env: "DYAD_LIMITS_PAGE",
        value: "N",
        default: "10000",
        rule: COUNT,
        help: "Most entries on one page of a listing; a larger page is cut. A page of service names has at most 100000",
        ..PLAIN
    },
];

/// The row of `key`. Panics on a key that is not in the table: callers name literals, and a test reads them all.
pub(super) fn row(key: &str) -> &'static Row {
    TABLE.iter().find(|row| row.key == key).expect("every literal key is a row of the table")
}

/// The name of `known` that is the fewest edits away from `name`; error messages suggest it.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known.min_by_key(|candidate| {
        let last = candidate.rsplit('.').next().unwrap_or(candidate);
        // A name that was only cut short is nearer than one of the same length with other letters.
        let begun = candidate.starts_with(name) && !name.is_empty();
        if begun { 1 } else { edit_distance(name, candidate).min(edit_distance(name, last) + 1) }
    })
}

/// Levenshtein distance, case ignored. Both sides are cut to 64 characters: a longer name is no typing error.
fn edit_distance(left: &str, right: &str) -> usize {
    const NAME_MAX: usize = 64;
    let left: Vec<char> = left.chars().take(NAME_MAX).map(|c| c.to_ascii_lowercase()).collect();
    let right: Vec<char> = right.chars().take(NAME_MAX).map(|c| c.to_ascii_lowercase()).collect();
    let mut line: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut diagonal = line[0];
        line[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let above = line[j + 1];
            line[j + 1] = (diagonal + usize::from(a != b)).min(above + 1).min(line[j] + 1);
            diagonal = above;
        }
    }
    line[right.len()]
}
