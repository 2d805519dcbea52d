//! The command line of `dyad bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// Highest numbers that are taken; beyond them the generator itself is what would be measured.
const CONNECTIONS_MAX: u64 = 50_000;
const SERVICES_MAX: u64 = 100_000;
const INSTANCES_MAX: u64 = 1_000_000;
const SECONDS_MAX: u64 = 86_400;
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// `dyad bench`: what to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub protocol: Protocol,
}

#[derive(Debug, Subcommand)]
pub enum Protocol {
    /// Over HTTP, as clients of Nacos 1.x do
    #[command(subcommand)]
    Http(HttpMode),
    /// Over gRPC, as clients of Nacos 2.x and 3.x do
    #[command(subcommand)]
    Grpc(GrpcMode),
    /// The configuration center, over HTTP or gRPC (--over)
    #[command(subcommand)]
    Config(ConfigMode),
}

#[derive(Debug, Subcommand)]
pub enum ConfigMode {
    /// Gets of --keys contents of --size bytes
    Get(ConfigArgs),
    /// Publishes to --keys configurations of --size bytes, each content another one
    Publish(ConfigArgs),
    /// From a publish to the new content at --listeners others
    Listen(ConfigListenArgs),
}

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Over {
    Http,
    Grpc,
}

#[derive(Debug, Subcommand)]
pub enum HttpMode {
    /// Register --instances (100,000) in --services (1,000), each once
    Register(LoadArgs),
    /// Light beats of --instances (1,000) in --services (10)
    Beat(LoadArgs),
    /// Lists of --services (100) that have --instances (1,000) in all
    List(LoadArgs),
    /// Of 20 requests 16 beats, 3 lists, 1 registration; --instances (1,000) in --services (10)
    Mixed(LoadArgs),
}

#[derive(Debug, Subcommand)]
pub enum GrpcMode {
    /// Each connection registers --instances (1,000), each in another of --services (1,000)
    Register(LoadArgs),
    /// Queries of --services (100) that have --instances (100) each
    Query(LoadArgs),
    /// Subscriptions of each connection to --services (100) that have --instances (1) each
    Subscribe(LoadArgs),
    /// From a registration in one client to the callback in others
    Push(PushArgs),
    /// Clients that lose their server, which the caller kills, and go to the next one
    Storm(StormArgs),
    /// Connections that do nothing but keep alive
    Idle(IdleArgs),
}

/// What every measurement has.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// The server, by its HTTP port (gRPC is 1000 above) or by grpc://HOST:PORT; several members with commas
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    pub url: Vec<String>,
    /// Another server to compare with, in turn with the first
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub vs: Vec<String>,
    /// Length of one round
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Time before each round that is not counted
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=SECONDS_MAX))]
    pub warmup: u64,
    /// Rounds of each server [default: 1, with --vs 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub rounds: Option<u64>,
    /// Write the figures to this file
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Process of the server, on this machine: its CPU time and memory are shown; of several members, separated by commas, the sum
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Process of the server that --vs names, or of its members
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "vs")]
    pub vs_pid: Vec<u32>,
}

#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Connections, each with requests of its own
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Services
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub services: Option<u64>,
    /// Instances
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=INSTANCES_MAX))]
    pub instances: Option<u64>,
    /// Requests at a time of one connection; HTTP has one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub in_flight: u64,
}

#[derive(Clone, Debug, Args)]
pub struct PushArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Subscribers of the service, connected to the last member of --url; the first one gets the changes
    #[arg(long, visible_alias = "connections", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub subscribers: u64,
    /// Changes a second
    #[arg(long, value_name = "R", default_value_t = 0.8)]
    pub rate: f64,
}

#[derive(Clone, Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Clients with an instance each; they begin at the first member of --url, which is to be killed
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Services that the instances are spread over; each client subscribes to its own
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub services: u64,
}

#[derive(Clone, Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(long, value_enum, default_value = "http")]
    pub over: Over,
    /// Clients, each with a connection and one request at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Configurations
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub keys: u64,
    /// Bytes of a content
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=SIZE_MAX))]
    pub size: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ConfigListenArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    #[arg(long, value_enum, default_value = "http")]
    pub over: Over,
    /// Listeners of the configuration, connected to the last member of --url; the first one gets the publishes
    #[arg(long, visible_alias = "connections", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub listeners: u64,
    /// Publishes a second
    #[arg(long, value_name = "R", default_value_t = 2.0)]
    pub rate: f64,
    /// Bytes of a content
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=SIZE_MAX))]
    pub size: u64,
}

impl BenchArgs {
    /// The mode as it is written.
    pub fn name(&self) -> &'static str {
        match &self.protocol {
            Protocol::Http(HttpMode::Register(_)) => "http register",
            Protocol::Http(HttpMode::Beat(_)) => "http beat",
            Protocol::Http(HttpMode::List(_)) => "http list",
            Protocol::Http(HttpMode::Mixed(_)) => "http mixed",
            Protocol::Grpc(GrpcMode::Register(_)) => "grpc register",
            Protocol::Grpc(GrpcMode::Query(_)) => "grpc query",
            Protocol::Grpc(GrpcMode::Subscribe(_)) => "grpc subscribe",
            Protocol::Grpc(GrpcMode::Push(_)) => "grpc push",
            Protocol::Grpc(GrpcMode::Storm(_)) => "grpc storm",
            Protocol::Grpc(GrpcMode::Idle(_)) => "grpc idle",
            Protocol::Config(ConfigMode::Get(_)) => "config get",
            Protocol::Config(ConfigMode::Publish(_)) => "config publish",
            Protocol::Config(ConfigMode::Listen(_)) => "config listen",
        }
    }

    pub fn common(&self) -> &CommonArgs {
        match &self.protocol {
            Protocol::Http(
                HttpMode::Register(load)
                | HttpMode::Beat(load)
                | HttpMode::List(load)
                | HttpMode::Mixed(load),
            )
            | Protocol::Grpc(GrpcMode::Register(load) | GrpcMode::Query(load) | GrpcMode::Subscribe(load)) => {
                &load.common
            }
            Protocol::Grpc(GrpcMode::Push(push)) => &push.common,
            Protocol::Grpc(GrpcMode::Storm(storm)) => &storm.common,
            Protocol::Grpc(GrpcMode::Idle(idle)) => &idle.common,
            Protocol::Config(ConfigMode::Get(args) | ConfigMode::Publish(args)) => &args.common,
            Protocol::Config(ConfigMode::Listen(listen)) => &listen.common,
        }
    }

    /// Is the HTTP port what is measured?
    pub(crate) fn over_http(&self) -> bool {
        match &self.protocol {
            Protocol::Http(_) => true,
            Protocol::Grpc(_) => false,
            Protocol::Config(ConfigMode::Get(args) | ConfigMode::Publish(args)) => args.over == Over::Http,
            Protocol::Config(ConfigMode::Listen(listen)) => listen.over == Over::Http,
        }
    }
}
