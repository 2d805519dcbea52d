//! The HTTP front end: Nacos's APIs of three generations over the use cases of `dyad_app`.
//!
//! The server calls [`serve`] with a bound listener. This is the way of a request: [`server`] and `dispatch` check
//! limits and origin; `dispatch` finds its row of [`routes::ROUTES`]; [`params`] reads the parameters into slots; a
//! handler (in `naming`, `config` or `core`) calls a use case. The result is a [`reply::Reply`], or a `Fault`, which
//! only [`fault`] turns into the answer of the row's generation.
//!
//! ```no_run
//! # async fn run(app: dyad_app::App) -> std::io::Result<()> {
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:8848").await?;
//! let stop = async { tokio::signal::ctrl_c().await.unwrap_or(()) };
//! let drained = dyad_http::serve(listener, app.into(), Default::default(), Default::default(), stop).await;
//! assert_eq!(drained.cut, 0, "connections were cut");
//! # Ok(())
//! # }
//! ```

mod ask;
mod asked;
mod config;
mod connections;
mod core;
mod dispatch;
mod exposition;
pub mod fault;
mod growing;
mod limits;
pub mod metrics;
mod multipart;
mod naming;
mod page;
pub mod params;
pub mod reply;
pub mod routes;
pub mod server;
mod step;

pub use asked::answer;
pub use limits::Limits;
pub use metrics::HttpMetrics;
pub use server::{Drained, serve};
