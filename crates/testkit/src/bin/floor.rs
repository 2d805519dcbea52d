//! `floor`: bare axum handlers that parse what the naming routes parse and answer the same bytes, with nothing between.
//! What a request costs here is what HTTP costs.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::HeaderValue;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use clap::Parser;
use serde::Deserialize;

/// Bare handlers to compare with.
#[derive(Debug, Parser)]
struct Arguments {
    #[arg(long)]
    port: u16,
    /// File with the answer to a beat.
    #[arg(long)]
    beat: PathBuf,
    /// File with the answer to a list of 10.
    #[arg(long)]
    list_10: PathBuf,
    /// File with the answer to a list of 1,000.
    #[arg(long)]
    list_1000: PathBuf,
}

/// What a registration or a beat carries.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed as the server parses it, and dropped")]
struct InstanceParams {
    service_name: String,
    #[serde(default)]
    group_name: String,
    #[serde(default)]
    namespace_id: String,
    #[serde(default)]
    cluster_name: String,
    ip: String,
    port: u16,
    #[serde(default)]
    weight: f64,
    #[serde(default)]
    ephemeral: bool,
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    healthy: bool,
    #[serde(default)]
    metadata: String,
    #[serde(default)]
    beat: String,
}

/// What a list carries.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(dead_code, reason = "parsed as the server parses it, and dropped")]
struct ListParams {
    service_name: String,
    #[serde(default)]
    group_name: String,
    #[serde(default)]
    namespace_id: String,
    #[serde(default)]
    clusters: String,
    #[serde(default)]
    healthy_only: bool,
}

#[derive(Clone, Debug)]
struct Answers {
    beat: Bytes,
    list_10: Bytes,
    list_1000: Bytes,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let Arguments { port, beat, list_10, list_1000 } = Arguments::parse();
    let answers = Answers {
        beat: std::fs::read(beat)?.into(),
        list_10: std::fs::read(list_10)?.into(),
        list_1000: std::fs::read(list_1000)?.into(),
    };
    let routes = Router::new()
        .route("/nacos/v1/console/health/readiness", get(async || "OK"))
        .route("/nacos/v1/ns/instance", post(register))
        .route("/nacos/v1/ns/instance/beat", put(beat_known))
        .route("/nacos/v1/ns/instance/list", get(list))
        .with_state(answers);
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    Ok(axum::serve(listener, routes).await?)
}

async fn register(Query(params): Query<InstanceParams>) -> &'static str {
    std::hint::black_box(params);
    "ok"
}

async fn beat_known(State(answers): State<Answers>, Query(params): Query<InstanceParams>) -> Response {
    std::hint::black_box(params);
    json(answers.beat)
}

async fn list(State(answers): State<Answers>, Query(params): Query<ListParams>) -> Response {
    let long = params.service_name.ends_with("1000");
    std::hint::black_box(params);
    json(if long { answers.list_1000 } else { answers.list_10 })
}

fn json(bytes: Bytes) -> Response {
    ([(CONTENT_TYPE, HeaderValue::from_static("application/json;charset=UTF-8"))], bytes).into_response()
}
