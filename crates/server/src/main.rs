//! The binary `dyad`: reads the command line and runs one command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use dyad_cli::admin::AdminRequest;
use dyad_cli::output::{note, print};
use dyad_cli::{Exit, Failure, backup, bench, cluster, config, health, ns, token};
use dyad_server::cli::{
    AddFlags, BackupFlags, BackupVerb, Cli, ClusterVerb, DrainFlags, HealthFlags, MemberFlags, ReplaceFlags,
    SettingFlags, StatusFlags, TokenVerb, TransferFlags, Verb,
};
use dyad_server::settings::{Settings, place};
use dyad_server::{panics, recover, restore, telemetry, wire};

/// Measured against glibc's: fewer bytes held after a peak, and no contention between worker threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => Exit::Clean.into(),
        Err(failure) => {
            let _closed = writeln!(std::io::stderr().lock(), "dyad: {failure}");
            failure.exit.into()
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Verb::Server(flags) => server(flags),
        Verb::Settings(flags) => settings(flags),
        Verb::Token(TokenVerb::New) => token::fresh(),
        Verb::Health(flags) => ask_health(flags),
        Verb::Cluster(verb) => cluster(verb),
        Verb::Recover(flags) => print(&recover::recover(flags)?),
        Verb::Backup(flags) => take_backup(flags),
        Verb::Restore(flags) => print(&restore::restore(&flags)?),
        Verb::Config(args) => config::config(*args),
        Verb::Ns(args) => ns::ns(args),
        Verb::Bench(args) => bench::bench(&args),
    }
}

fn server(flags: SettingFlags) -> Result<(), Failure> {
    let settings = Settings::load(&flags.inputs())?;
    telemetry::init(settings.log_format, &settings.log_level)?;
    panics::install();
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Disk, format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(wire::run(settings));
    // The process ends with this result, whatever tasks and threads that are cut off in their work would make of it. To drop
    // the runtime would wait for threads, which cannot be ended from outside. Nothing is lost with them, since nothing is
    // acknowledged before it is durable.
    std::mem::forget(runtime);
    result
}

fn settings(flags: SettingFlags) -> Result<(), Failure> {
    let settings = Settings::load(&flags.inputs())?;
    for warning in &settings.warnings {
        note(warning);
    }
    print(&settings.to_text())
}

fn ask_health(flags: HealthFlags) -> Result<(), Failure> {
    let url = match flags.url {
        Some(url) => url,
        None => {
            let path = if flags.live { health::LIVENESS } else { health::READINESS };
            health::own_url(place::http(&flags.settings.inputs())?, path)?
        }
    };
    health::check(&url)
}

fn take_backup(flags: BackupFlags) -> Result<(), Failure> {
    let BackupFlags { file, force, output, settings, verb } = flags;
    match verb {
        Some(BackupVerb::Verify(flags)) => backup::verify(&flags.file, flags.output),
        Some(BackupVerb::Show(flags)) => backup::show(&flags.file, flags.output),
        None => {
            let data_dir = place::data_dir(&settings.inputs())?;
            let file = file.ok_or_else(|| Failure::new(Exit::Settings, "a backup needs a file"))?;
            // The server may have another reserve, which this machine's settings need not have.
            let reserve = |total| dyad_raft::reserve_bytes(None, total);
            backup::take(&data_dir, &backup::TakeArgs { file, force, output, reserve })
        }
    }
}

fn cluster_status(flags: StatusFlags) -> Result<(), Failure> {
    cluster::status(&place::data_dir(&flags.settings.inputs())?, flags.output)
}

fn cluster(verb: ClusterVerb) -> Result<(), Failure> {
    let (settings, request) = match verb {
        ClusterVerb::Status(flags) => return cluster_status(flags),
        ClusterVerb::Drain(flags) => return drain(flags),
        ClusterVerb::Add(AddFlags { address, learner, settings }) => {
            (settings, AdminRequest::Add { address, learner })
        }
        ClusterVerb::Remove(MemberFlags { member, settings }) => (settings, AdminRequest::Remove { member }),
        ClusterVerb::Replace(ReplaceFlags { old, address, settings }) => {
            (settings, AdminRequest::Replace { old, address })
        }
        ClusterVerb::Promote(MemberFlags { member, settings }) => {
            (settings, AdminRequest::Promote { member })
        }
        ClusterVerb::Demote(MemberFlags { member, settings }) => (settings, AdminRequest::Demote { member }),
        ClusterVerb::TransferLeader(TransferFlags { to, settings }) => {
            (settings, AdminRequest::TransferLeader { to })
        }
    };
    cluster::change(&place::data_dir(&settings.inputs())?, request)
}

fn drain(flags: DrainFlags) -> Result<(), Failure> {
    let data_dir = place::data_dir(&flags.settings.inputs())?;
    if flags.off { cluster::undrain(&data_dir) } else { cluster::drain(&data_dir) }
}
