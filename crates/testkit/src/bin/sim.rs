//! `make sim`: runs seeds of the simulator's profiles and reports violations, figures and coverage.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::Parser;
use dyad_testkit::sim::{PROFILES, Profile, Run, run};

/// Simulates the AP core: members, clients, faults.
#[derive(Parser)]
struct Args {
    /// A profile (calm, kill, pause, cut, member, three, cap, all), several with commas, or `each` for every one.
    #[arg(long, default_value = "each")]
    profile: String,
    /// Seeds of each profile.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Threads.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Fails when a fault or rule of the profile never happened.
    #[arg(long)]
    require_coverage: bool,
    /// Prints every event of the seed.
    #[arg(long)]
    trace: bool,
    /// Stops at the first violation.
    #[arg(long)]
    first: bool,
}

#[derive(Default)]
struct Sum {
    counts: BTreeMap<&'static str, u64>,
    events: u64,
    failed: Vec<u64>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let profiles: Vec<Profile> = if args.profile == "each" {
        PROFILES.to_vec()
    } else {
        match args.profile.split(',').map(str::parse).collect() {
            Ok(profiles) => profiles,
            Err(error) => {
                println!("{error}");
                return ExitCode::from(2);
            }
        }
    };
    let mut ok = true;
    for profile in profiles {
        ok &= run_profile(&args, profile);
    }
    if ok { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_profile(args: &Args, profile: Profile) -> bool {
    let next = AtomicU64::new(args.seed);
    let stop = AtomicBool::new(false);
    let sum = Mutex::new(Sum::default());
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= args.seed + args.seeds {
                        return;
                    }
                    let result = run(profile, seed, args.trace);
                    let failed = result.violation.is_some();
                    note(&sum, profile, seed, result);
                    if failed && args.first {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    report(args, profile, &sum.into_inner().unwrap_or_else(PoisonError::into_inner), started)
}

fn note(sum: &Mutex<Sum>, profile: Profile, seed: u64, result: Run) {
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    for line in &result.trace {
        println!("{line}");
    }
    for (name, count) in result.counts {
        *sum.counts.entry(name).or_insert(0) += count;
    }
    sum.events += result.events;
    if let Some(violation) = result.violation {
        sum.failed.push(seed);
        println!(
            "VIOLATION {} of {profile}/{seed} at {} ms: {}",
            violation.invariant, violation.at, violation.detail
        );
        println!("  again: make sim PROFILE={profile} SEED={seed} SEEDS=1");
    }
}

fn report(args: &Args, profile: Profile, sum: &Sum, started: Instant) -> bool {
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{profile}: {} seeds, {} failed, {} events, {:.0} s, {:.1} seeds/s",
        args.seeds,
        sum.failed.len(),
        sum.events,
        seconds,
        args.seeds as f64 / seconds
    );
    let counts: Vec<String> = sum.counts.iter().map(|(name, count)| format!("{name} {count}")).collect();
    println!("  {}", counts.join(", "));
    let missing: Vec<&str> =
        profile.coverage().into_iter().filter(|name| sum.counts.get(name).is_none_or(|&n| n == 0)).collect();
    if args.require_coverage && !missing.is_empty() {
        println!("  never happened: {}", missing.join(", "));
        return false;
    }
    sum.failed.is_empty()
}
