//! What a request costs: the server's CPU time per request beside that of a bare handler (`floor`) which parses the same
//! and writes the same bytes. Both run on one core, the load on the other, in turn.

mod generator;
mod memory;
mod operations;
mod server;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

pub use memory::{Memory, measure as measure_memory};
pub use server::Server;

use crate::figures::{median, table};
use crate::proc;
use generator::{Until, run as generate};
use operations::{Operation, REGISTRATIONS};

/// The generator's core may be busy so much of the time; beyond it the generator is what was measured.
const BUSY_MAX: f64 = 0.9;

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `dyad` binary.
    pub binary: PathBuf,
    /// The `floor` binary.
    pub floor: PathBuf,
    pub rounds: usize,
    /// Of one operation in one round at one server.
    pub time: Duration,
}

/// One operation's figures, medians over the rounds.
#[derive(Debug, Serialize)]
pub struct Row {
    pub operation: &'static str,
    /// Microseconds of CPU per request, and requests a second.
    pub dyad_us: f64,
    pub dyad_rate: f64,
    pub floor_us: f64,
    pub floor_rate: f64,
    /// Dyad's cost over the floor's; for registrations over the floor's beat.
    pub ratio: f64,
    pub limit: f64,
    /// The larger share of time that the generator was busy.
    pub generator_busy: f64,
    pub void: bool,
}

impl Row {
    pub fn passed(&self) -> bool {
        !self.void && self.ratio <= self.limit
    }
}

/// The figures as a table.
pub fn to_text(rows: &[Row]) -> String {
    let head =
        ["operation", "dyad us", "dyad/s", "floor us", "floor/s", "ratio", "limit", "generator busy", ""];
    let cells = |row: &Row| {
        vec![
            row.operation.to_owned(),
            format!("{:.1}", row.dyad_us),
            format!("{:.0}", row.dyad_rate),
            format!("{:.1}", row.floor_us),
            format!("{:.0}", row.floor_rate),
            format!("{:.2}", row.ratio),
            format!("{:.1}", row.limit),
            format!("{:.0} %", row.generator_busy * 100.0),
            if row.void {
                "VOID"
            } else if row.passed() {
                "ok"
            } else {
                "FAILED"
            }
            .to_owned(),
        ]
    };
    table(&head, &rows.iter().map(cells).collect::<Vec<_>>())
}

/// Samples of one operation at one server.
#[derive(Default)]
struct Samples {
    us: Vec<f64>,
    rate: Vec<f64>,
    busy: Vec<f64>,
}

/// Runs all operations, servers in turn within each round.
///
/// # Errors
/// A server does not start or does not answer.
pub fn run(plan: &Plan) -> Result<Vec<Row>> {
    let operations = Operation::all();
    let dyad = Server::dyad(&plan.binary)?;
    operations::prepare(dyad.address)?;
    let floor = Server::floor(&plan.floor, &operations::answers(dyad.address)?)?;
    let mut samples: Vec<[Samples; 2]> = operations.iter().map(|_| Default::default()).collect();
    for round in 0..plan.rounds {
        for (operation, samples) in operations.iter().zip(&mut samples) {
            for (server, samples) in [&floor, &dyad].into_iter().zip(samples) {
                measure(plan, operation, server, samples)?;
            }
            eprintln!("round {round}: {}", operation.name());
        }
    }
    drop((dyad, floor));
    Ok(rows(&operations, &samples))
}

fn rows(operations: &[Operation], samples: &[[Samples; 2]]) -> Vec<Row> {
    let beat_floor = median(&samples[0][0].us);
    let row = |(operation, [floor, dyad]): (&Operation, &[Samples; 2])| {
        let generator_busy = median(&floor.busy).max(median(&dyad.busy));
        let base = if *operation == Operation::Register { beat_floor } else { median(&floor.us) };
        Row {
            operation: operation.name(),
            dyad_us: median(&dyad.us),
            dyad_rate: median(&dyad.rate),
            floor_us: median(&floor.us),
            floor_rate: median(&floor.rate),
            ratio: median(&dyad.us) / base,
            limit: operation.limit(),
            generator_busy,
            void: generator_busy > BUSY_MAX,
        }
    };
    operations.iter().zip(samples).map(row).collect()
}

/// One operation at one server. Registrations go to a new server each time: only then all are new.
fn measure(plan: &Plan, operation: &Operation, server: &Server, samples: &mut Samples) -> Result<()> {
    let requests = operation.requests(server.address);
    let (until, fresh) = match operation {
        Operation::Register if server.is_dyad() => {
            (Until::Requests(REGISTRATIONS), Some(Server::dyad(&plan.binary)?))
        }
        Operation::Register => (Until::Requests(REGISTRATIONS), None),
        _ => (Until::After(plan.time), None),
    };
    let server = fresh.as_ref().unwrap_or(server);
    let before = proc::cpu_of(server.pid())?;
    let load = generate(server.address, &requests, until)?;
    let cpu = proc::cpu_of(server.pid())?.saturating_sub(before);
    let requests = load.requests as f64;
    samples.us.push(cpu.as_secs_f64() * 1e6 / requests);
    samples.rate.push(requests / load.wall.as_secs_f64());
    samples.busy.push(load.own_cpu.as_secs_f64() / load.wall.as_secs_f64());
    Ok(())
}

/// The bytes of a request to `address`.
fn wire(request: &crate::http::Request, address: SocketAddr) -> Vec<u8> {
    request.to_bytes(&address.to_string())
}
