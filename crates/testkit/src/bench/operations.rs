//! The operations that are measured, and what must be in the server for them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::generator::{Until, run as generate};
use super::wire;
use crate::http::Request;
use crate::nacos::{self, Instance};

/// Distinct registrations, spread over services of 100.
pub(super) const REGISTRATIONS: usize = 100_000;
/// Instances whose beats are measured.
const BEATING: usize = 1000;
/// They must live through the run without beats.
const LONG_LIVED: &str =
    r#"{"preserved.heart.beat.timeout":"7200000","preserved.ip.delete.timeout":"7200000"}"#;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Beat,
    List10,
    List1000,
    Register,
}

impl Operation {
    /// The beat first: registrations are compared with it.
    pub(super) fn all() -> [Operation; 4] {
        [Operation::Beat, Operation::List10, Operation::List1000, Operation::Register]
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Operation::Beat => "beat",
            Operation::List10 => "list of 10",
            Operation::List1000 => "list of 1,000",
            Operation::Register => "register",
        }
    }

    /// Largest allowed cost, as a multiple of the floor's.
    pub(super) fn limit(self) -> f64 {
        match self {
            Operation::Beat | Operation::List10 => 2.0,
            Operation::List1000 => 1.5,
            Operation::Register => 2.5,
        }
    }

    /// What the generator sends, one after another.
    pub(super) fn requests(self, address: SocketAddr) -> Vec<Vec<u8>> {
        match self {
            Operation::Beat => beating().map(|instance| wire(&instance.light_beat(), address)).collect(),
            Operation::List10 => vec![wire(&nacos::list("bench-10"), address)],
            Operation::List1000 => vec![wire(&nacos::list("bench-1000"), address)],
            Operation::Register => {
                registrations().map(|instance| wire(&instance.register(), address)).collect()
            }
        }
    }
}

fn instance(service: String, n: usize) -> Instance {
    Instance {
        service,
        ip: format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1),
        port: 8080,
        persistent: false,
    }
}

fn beating() -> impl Iterator<Item = Instance> {
    (0..BEATING).map(|n| instance(format!("bench-beat-{}", n % 10), n))
}

/// 100,000 instances in 1,000 services.
pub(super) fn registrations() -> impl Iterator<Item = Instance> {
    (0..REGISTRATIONS).map(|n| instance(format!("bench-reg-{}", n % 1000), n))
}

/// Registers what lists show and beats keep.
pub(super) fn prepare(address: SocketAddr) -> Result<()> {
    let listed = |count: usize| (0..count).map(move |n| instance(format!("bench-{count}"), n));
    let all = beating().chain(listed(10)).chain(listed(1000));
    let requests: Vec<Vec<u8>> =
        all.map(|instance| wire(&instance.register_with(LONG_LIVED), address)).collect();
    generate(address, &requests, Until::Requests(requests.len()))?;
    Ok(())
}

/// What the server answers to a beat, a list of 10 and one of 1,000: the floor answers the same bytes.
pub(super) fn answers(address: SocketAddr) -> Result<[Vec<u8>; 3]> {
    let beat = beating().next().context("some instances beat")?.light_beat();
    Ok([
        ask(address, &beat)?,
        ask(address, &nacos::list("bench-10"))?,
        ask(address, &nacos::list("bench-1000"))?,
    ])
}

/// One request over a connection of its own, blocking: the body of its answer.
pub(super) fn ask(address: SocketAddr, request: &Request) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address)?;
    let text = String::from_utf8(wire(request, address))?.replacen("\r\n", "\r\nConnection: close\r\n", 1);
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if !answer.starts_with(b"HTTP/1.1 200") {
        bail!("{}: {}", request.target, String::from_utf8_lossy(&answer));
    }
    let end = answer.windows(4).position(|part| part == b"\r\n\r\n").context("no head")?;
    Ok(answer.split_off(end + 4))
}
