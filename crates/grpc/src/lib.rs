//! The SDK port: what Nacos's 2.x and 3.x clients speak over gRPC.
//!
//! Two calls carry everything: `Request/request`, one JSON request and its answer, and `BiRequestStream/requestBiStream`, the
//! client's setup and acknowledgements one way and pushes the other. A client is the transport that both share: its
//! connection id is made when the transport opens, and what it published ends with the transport.
//!
//! [`serve`] accepts transports (`listen`); a `transport` is one task, which reads HTTP/2, answers, and sends what its `stream`
//! is told; `dispatch` finds the row of a request in its table and checks what holds for every request, `naming`, `config` and
//! `watch` are the use cases (`naming_watch` and `config_watch`: what it watches), `error` alone turns errors into codes.
//! [`Connections`] knows all connections: keep-alive, probes, their end, draining. HTTP/2 is the `h2` crate's, without a
//! server framework above it: a transport that is one task tells how it ended, can be closed at any moment, and spends no
//! task, timer or channel on a call. The gRPC framing is ours (`frame`), so that a push is one buffer for all its subscribers.

mod config;
mod config_watch;
mod connection;
mod cut;
mod dispatch;
mod dto;
mod error;
mod frame;
mod listen;
mod metrics;
mod naming;
mod naming_watch;
mod outbox;
mod stream;
mod table;
mod transport;
mod watch;

use std::time::Duration;

pub use connection::{Connection, Setup};
pub use listen::serve;
pub use metrics::GrpcMetrics;
pub use table::{Connections, Drain};

/// Limits and times of the SDK port.
#[derive(Clone, Debug)]
pub struct GrpcLimits {
    /// Bytes of one message from a client. Default 10 MiB, as in Nacos.
    pub message: usize,
    /// Transports at a time; more are closed at once. Default 100,000.
    pub connections: usize,
    /// Subscriptions of one connection. Default 20,000.
    pub subscriptions: usize,
    /// Instances of one batch. Default 1,000.
    pub batch: usize,
    /// Time for the rest of a request whose first bytes are there. Default 30 s.
    pub body_read: Duration,
    /// A transport without a registered client that sends nothing is closed after this. Default 75 s.
    pub unregistered: Duration,
    /// A client that was silent for this is asked whether it lives (`keepAliveTime`). Default 20 s.
    pub silent: Duration,
    /// A client that was asked, or pushed to, answers within this. Default 5 s.
    pub answer: Duration,
    /// A push that was not acknowledged is repeated so long after the time for its answer was over. Default 1 s.
    pub retry: Duration,
    /// How long a probe waits for an answer (rule 17 of docs/distro.md). Default 3 s.
    pub probe: Duration,
    /// A client that took nothing of what waits for it for this long is closed. Default 300 s.
    pub blocked: Duration,
    /// How often these times are looked at. Default 500 ms.
    pub sweep: Duration,
    /// The address that pushes name as the server's; shown by clients, never dialed.
    pub own_ip: String,
}

impl Default for GrpcLimits {
    fn default() -> GrpcLimits {
        GrpcLimits {
            message: 10 * 1024 * 1024,
            connections: 100_000,
            subscriptions: 20_000,
            batch: 1_000,
            body_read: Duration::from_secs(30),
            unregistered: Duration::from_secs(75),
            silent: Duration::from_secs(20),
            answer: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            probe: Duration::from_secs(3),
            blocked: Duration::from_secs(300),
            sweep: Duration::from_millis(500),
            own_ip: "127.0.0.1".into(),
        }
    }
}
