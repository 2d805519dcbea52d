//! The gRPC port, for the clients of Nacos 2.x and 3.x.
//!
//! Two calls carry everything. `Request/request` has one JSON request and its answer. `BiRequestStream/requestBiStream`
//! has the setup and the acknowledgements of the client in one direction, and pushes in the other. Both calls of a
//! client share one transport, which stands for the client: its connection id is made when the transport opens, and
//! what the client published ends with the transport.
//!
//! [`serve`] accepts transports (`listen`). A `transport` is one task, which reads HTTP/2, answers, and sends what its
//! `stream` has. `dispatch` finds the row of a request in the table (`rows`) and makes the checks that every request
//! needs. `naming`, `config` and `watch` handle the requests (`watched`, `naming_watch` and `config_watch`: what is watched).
//! Only `error` turns errors into codes. [`Connections`] knows all connections: it keeps them alive, probes them, ends them and drains
//! them.
//!
//! HTTP/2 comes from the crate `h2`, without a server framework above it. So a transport is one task, says how it ended,
//! can be closed at any moment, and spends no task, timer or channel on a call. The framing of gRPC is our own (`frame`),
//! so that a push is one buffer for all its subscribers.

mod config;
mod config_watch;
mod connection;
mod cut;
mod dispatch;
mod dto;
mod error;
mod frame;
mod front;
mod listen;
mod metrics;
mod naming;
mod naming_watch;
mod outbox;
mod row;
mod rows;
mod stream;
mod table;
mod transport;
mod watch;
mod watched;

use std::time::Duration;

pub use connection::{Connection, Setup};
pub use listen::serve;
pub use metrics::GrpcMetrics;
pub use rows::register_metrics;
pub use table::{Connections, Drain};

/// The limits and times of the gRPC port.
#[derive(Clone, Debug)]
pub struct GrpcLimits {
    /// Most bytes of one message from a client. Default 10 MiB, as in Nacos.
    pub message: usize,
    /// Most subscriptions of one connection. Default 20,000.
    pub subscriptions: usize,
    /// The longest time for the rest of a request after its first bytes. Default 30 s.
    pub body_read: Duration,
    /// A transport without a registered client is closed if it sends nothing for this long. Default 75 s.
    pub unregistered: Duration,
    /// A client that was silent for this long is asked whether it is alive (`keepAliveTime`). Default 20 s.
    pub silent: Duration,
    /// The longest time for the answer of a client that was asked or got a push. Default 5 s.
    pub answer: Duration,
    /// A push that was not acknowledged is repeated this long after the time for its answer is over. Default 1 s.
    pub retry: Duration,
    /// The longest time for the answer to a probe (rule 17 of docs/distro.md). Default 3 s.
    pub probe: Duration,
    /// A client is closed if it has not taken the whole of an answer or a push after this time. Default 60 s, which is enough
    /// for 10 MiB at 1.4 Mbit/s.
    pub unread: Duration,
    /// A client is closed if something waits for it and it takes nothing for this long. Default 300 s.
    pub blocked: Duration,
    /// How often these times are checked. Default 500 ms.
    pub sweep: Duration,
    /// The address of the server that pushes contain. Clients show it and never dial it.
    pub own_ip: String,
}

impl Default for GrpcLimits {
    fn default() -> GrpcLimits {
        GrpcLimits {
            message: 10 * 1024 * 1024,
            subscriptions: 20_000,
            body_read: Duration::from_secs(30),
            unregistered: Duration::from_secs(75),
            silent: Duration::from_secs(20),
            answer: Duration::from_secs(5),
            retry: Duration::from_secs(1),
            probe: Duration::from_secs(3),
            unread: Duration::from_secs(60),
            blocked: Duration::from_secs(300),
            sweep: Duration::from_millis(500),
            own_ip: "127.0.0.1".into(),
        }
    }
}
