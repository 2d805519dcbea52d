//! The HTTP and SDK front end: Nacos's v1 naming API, its configuration API in three generations (`config`), the use cases
//! behind them, and the delegate that sends each write of an instance to the core of its lifetime.
//!
//! The server makes one [`AppState`] from the registry, the two cores (as `dyad_naming::ports`), a [`Clock`] and the
//! counters, and calls [`serve`] with a bound listener. A request goes: limits and origin ([`server`], `dispatch`) → its
//! row of [`routes::ROUTES`] → parameters in slots ([`params`]) → use case (`instance`, `beat`, `list`, `service`,
//! `operator`, `cluster`, `health`, `page`, `config`) → `delegate` for instances, a proposal for records, overrides, switches
//! and configurations →
//! [`reply::Reply`], or an [`error::ApiError`], which only `error` turns into a status.
//!
//! ```no_run
//! # async fn run(app: dyad_api::AppState) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8848").await?;
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
//! let drained = dyad_api::serve(listener, std::sync::Arc::new(app), dyad_api::Limits::default(), stop).await;
//! assert_eq!(drained.cut, 0, "connections were cut");
//! # Ok(())
//! # }
//! ```

pub mod error;
pub mod grpc;
pub mod listen;
pub mod metrics;
pub mod params;
pub mod push;
pub mod reply;
pub mod routes;
pub mod server;
pub mod state;
pub mod time;

mod ask;
mod beat;
mod cluster;
mod config;
mod delegate;
mod dispatch;
mod health;
mod instance;
mod list;
mod metadata;
mod naming;
mod operator;
mod page;
mod service;
mod subscribers;

pub use config::ConfigMetrics;
pub use grpc::{Connections, GrpcLimits, GrpcMetrics, serve as serve_grpc};
pub use listen::{ListenLimits, ListenMetrics, Listeners};
pub use metrics::HttpMetrics;
pub use push::{Push, PushMetrics};
pub use server::{Drained, Limits, serve};
pub use state::{AppState, Bounds, IdSource};
pub use time::Clock;
