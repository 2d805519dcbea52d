//! Puts the parts of a server together, runs them until a signal or a fatal error, and takes them apart in order.

mod bootstrap;
mod clock;
mod cp;
mod door;
mod files;
mod headline;
mod host;
mod jobs;
mod log;
mod members;
mod membership;
mod metrics;
mod parts;
mod probes;
mod process;
mod readiness;
mod rebalance;
mod retention;
mod stop;
mod watch;

use std::net::SocketAddr;
use std::sync::Arc;

use dyad_app::config::Turns;
use dyad_app::{App, Bounds, ConfigMetrics, IdSource};
use dyad_cli::{Exit, Failure};
use dyad_cluster::{Ap, ClusterService, ClusterTls, Dialer, Directory, Entry, PortLimits, gossip};
use dyad_distro::{Config, Distro};
use dyad_grpc::{Connections, GrpcLimits};
use dyad_http::{Drained, HttpMetrics};
use dyad_naming::Registry;
use dyad_push::config::{ListenLimits, ListenMetrics, Listeners};
use dyad_push::naming::{Push, PushMetrics};
use dyad_raft::{Claim, RaftConfig, RaftHandle, Standing};
use dyad_types::{Budget, MemberId, Origin, Places};
use prometheus_client::registry::Registry as Prometheus;
use tokio::net::TcpListener;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{AdminSocket, Handler};
use crate::backup;
use crate::datadir::DataDir;
use crate::identity::Identity;
use crate::logged;
use crate::panics::{self, Opening};
use crate::settings::{Settings, memory};
use crate::telemetry::Lines;

use door::Door;
use files::Files;
use parts::Parts;

/// Runs a server until SIGTERM or SIGINT.
///
/// # Errors
/// The error that ends the process, with its exit code.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let files = Files::raise(&settings);
    let data = DataDir::open(&settings.data_dir)?;
    let mut identity = Identity::load_or_create(data.path())?;
    let logged = logged::read(data.path(), &identity)?;
    // Ports first: a port in use must not cost an incarnation.
    let named = |failure: Failure, port| match (failure.exit, settings.claimed(port)) {
        (Exit::InUse, Some(by)) => Failure::new(failure.exit, format!("{}: {by}", failure.message)),
        _ => failure,
    };
    let http = Door::take(SocketAddr::new(settings.bind, settings.port), "HTTP", "port")
        .map_err(|failure| named(failure, settings.port))?;
    let grpc = Door::take(SocketAddr::new(settings.bind, settings.grpc_port), "gRPC", "grpc_port")
        .map_err(|failure| named(failure, settings.grpc_port))?;
    let cluster = match &settings.cluster_token {
        Some(_) => {
            let listening = listen(any(settings.cluster_port), "members", "cluster_port").await;
            Some(listening.map_err(|failure| named(failure, settings.cluster_port))?)
        }
        None => None,
    };
    backup::prepare(&settings).await?;
    identity.advance()?;
    tracing::info!(origin = %identity.origin(), version = env!("CARGO_PKG_VERSION"), "starting");
    let mut prometheus = Prometheus::default();
    process::register(&mut prometheus);
    let dyad = prometheus.sub_registry_with_prefix("dyad");
    let (parts, fatal) =
        assemble(settings, files, &data, (identity, logged), (http.address, grpc.address), cluster, dyad)
            .await?;
    let source = backup::Source {
        raft: parts.raft.clone(),
        directory: parts.directory.clone(),
        wall_ms: clock::wall_ms,
    };
    let admin = AdminSocket::open(&data)?.giving(backup::Streams::new(source.clone()));
    let status = parts.clone();
    let handler: Handler = Arc::new(move |request| Box::pin(members::answer(status.clone(), request)));
    parts.tasks.spawn(admin.serve(handler, parts.stop.clone()));
    jobs::spawn(&parts);
    let quit = CancellationToken::new();
    let http_metrics = HttpMetrics::register(dyad);
    let backups = backup::BackupMetrics::register(dyad);
    backup::spawn((source, &parts.settings), backups, &parts.tasks, parts.stop.clone());
    let config_metrics = ConfigMetrics::register(dyad);
    metrics::register(dyad, parts.clone());
    let app = Arc::new(app(&parts, config_metrics, prometheus));
    if let Some(directory) = &parts.directory {
        directory.set_answer(Arc::new(members::Answers(app.clone())));
    }
    let mut serving = tokio::spawn(door::serve(parts.clone(), (app, http_metrics), http, grpc, quit.clone()));
    let why = tokio::select! {
        signal = stop::signal() => Ok(signal?),
        failure = fatal.wait() => Err(failure),
        failure = data.gone() => {
            // Whoever leads next has a disk.
            let _over = parts.raft.transfer_leader().await;
            Err(failure)
        }
        ended = &mut serving => Err(ended_early(ended)),
    };
    match why {
        Ok(signal) => {
            stop::graceful(&parts, signal, quit, serving).await;
            Ok(())
        }
        Err(failure) => Err(failure),
    }
}

/// Why the store of a member cannot be opened or made, with its exit code.
pub(crate) fn start_failure(error: &dyad_raft::StartError) -> Failure {
    host::failure(error.exit_code(), error.to_string())
}

async fn assemble(
    settings: Settings,
    files: Files,
    data: &DataDir,
    (identity, logged): (Identity, Option<u64>),
    (http, grpc): (SocketAddr, SocketAddr),
    cluster: Option<TcpListener>,
    prometheus: &mut Prometheus,
) -> Result<(Arc<Parts>, host::Fatal), Failure> {
    let me = identity.member();
    let incarnation = identity.incarnation();
    let lines = Arc::new(Lines::default());
    let registry = Arc::new(Registry::default());
    let clock = Arc::new(clock::ProcessClock);
    let push = Push::new(registry.clone(), clock.clone(), PushMetrics::register(prometheus));
    let probes = probes::Probes::new(me, files.dials());
    let sink = cp::Sink::new(registry.clone(), probes.clone(), lines.clone(), settings.expire_instance);
    let link = match &settings.cluster_token {
        Some(token) => Some(Link::new(&settings, token.expose(), me)?),
        None => None,
    };
    sink.push(push.clone());
    let raft = start_raft(&settings, data, (identity.origin(), logged), link.as_ref(), &sink).await?;
    let state = Arc::downgrade(&raft);
    sink.configs().connect(move || state.upgrade().map(|raft| raft.config_state()).unwrap_or_default());
    let configured = settings.members.len().max(1);
    let config = match configured {
        1 => Config::standalone(me, incarnation),
        n => Config::cluster(me, incarnation, n, vec![me]),
    };
    let counters = Arc::new(host::Counters::default());
    let (host, fatal) = host::Host::new(identity, lines.clone(), counters.clone(), raft.clone());
    let ap = Ap::new(me, Distro::new(config, clock::monotonic()), registry.clone(), host.clone());
    let (grpc_limits, grpc_metrics) = (grpc_limits(&settings), dyad_grpc::register_metrics(prometheus));
    let listen_metrics = ListenMetrics::register(prometheus);
    let memory = settings.memory.unwrap_or_else(memory::available);
    let connections = (settings.limits.connections, settings.limits.grpc_connections);
    let places = Places::new(files.places(connections, memory), rand::random());
    let (configs, limits) = (sink.configs(), ListenLimits::default());
    let listeners = Listeners::new(configs, clock.clone(), limits, places.clone(), listen_metrics);
    sink.watch(listeners.clone());
    let connections =
        Connections::new(ap.clone(), push.clone(), listeners.clone(), clock, grpc_limits, grpc_metrics);
    host.set_connections(connections.clone());
    sink.connect(ap.clone());
    let budget = Budget::of_memory(memory, rand::random());
    let local =
        |listener: &TcpListener| listener.local_addr().map_err(|e| Failure::new(Exit::InUse, e.to_string()));
    let parts = Arc::new(Parts {
        me,
        registry,
        raft,
        ap,
        directory: link.as_ref().map(|link| link.directory.clone()),
        probes,
        sink,
        lines,
        counters,
        push,
        listeners,
        connections,
        budget,
        places,
        files,
        http,
        grpc,
        cluster: cluster.as_ref().map(local).transpose()?,
        settings,
        not_ready: parking_lot::Mutex::new("it starts".to_owned()),
        asked: CancellationToken::new(),
        stop: CancellationToken::new(),
        tasks: TaskTracker::new(),
    });
    if let (Some(link), Some(listener)) = (link, cluster) {
        spawn_cluster(&parts, &link, listener, incarnation, host);
    }
    Ok((parts, fatal))
}

/// What a member needs to talk to others.
struct Link {
    tls: ClusterTls,
    dialer: Dialer,
    directory: Arc<Directory>,
}

impl Link {
    fn new(settings: &Settings, token: &[u8], me: MemberId) -> Result<Link, Failure> {
        let bad = |error: String| Failure::new(Exit::Settings, error);
        let tls = ClusterTls::from_token(token).map_err(|e| bad(e.to_string()))?;
        let dialer = Dialer::new(tls.clone());
        // A server that is alone knows its own address, so that others can be added.
        let alone = settings.advertise.as_ref().filter(|_| settings.members.is_empty());
        let entries = settings
            .members
            .iter()
            .chain(alone)
            .map(|m| Entry { address: m.http(), cluster_address: m.cluster() })
            .collect();
        let directory = Directory::new(me, rand::random(), entries, dialer.clone())
            .map_err(|error| bad(format!("setting members: {error}")))?;
        Ok(Link { tls, dialer, directory: Arc::new(directory) })
    }
}

async fn start_raft(
    settings: &Settings,
    data: &DataDir,
    (Origin { member: me, incarnation }, logged): (Origin, Option<u64>),
    link: Option<&Link>,
    sink: &Arc<cp::Sink>,
) -> Result<Arc<RaftHandle>, Failure> {
    let mut config = RaftConfig::new(me, data.path().to_owned());
    config.claim = Some(Claim { start: incarnation, logged });
    config.min_free_bytes = settings.min_free_disk;
    config.wall_clock = clock::wall_ms;
    config.state_level = settings.level;
    let dial: Arc<dyn dyad_raft::Dial> = match link {
        Some(link) => Arc::new(host::RaftDial(link.dialer.clone())),
        None => Arc::new(host::NoDial),
    };
    let opening = Opening::begin();
    let raft = RaftHandle::start(config, dial, sink.clone()).await;
    drop(opening);
    let raft = raft.map_err(|error| start_failure(&error))?;
    // Before the cluster port is served: whoever asks this member for a vote finds both written.
    logged::write(data.path(), me, incarnation)?;
    let fatal = raft.on_fatal();
    panics::explain(move || fatal.borrow().as_ref().map(|f| host::failure(f.exit_code(), f.to_string())));
    if settings.standalone() {
        bootstrap::standalone(&raft, me, settings).await?;
    }
    if bootstrap::asks_first(&raft, settings) {
        raft.stand(Standing::Barred("this member asks the other servers of its list first".to_owned()));
    }
    Ok(raft)
}

fn spawn_cluster(
    parts: &Arc<Parts>,
    link: &Link,
    listener: TcpListener,
    incarnation: u64,
    host: Arc<host::Host>,
) {
    let directory = link.directory.clone();
    if let Some(own) = &parts.settings.advertise {
        directory.set_own(&own.http(), incarnation);
    }
    let identity = Arc::new(host::RaftIdentity(parts.raft.clone()));
    let service = ClusterService::new(directory.clone(), parts.ap.clone(), identity);
    let (tls, stop) = (link.tls.clone(), parts.stop.clone());
    let limits = PortLimits { handshakes: parts.files.handshakes(), ..PortLimits::default() };
    let routes = tonic::service::Routes::new(parts.raft.service());
    parts.tasks.spawn(async move {
        if let Err(error) = service.serve(listener, &tls, limits, routes, stop.cancelled_owned()).await {
            // A member that hears nobody must not live on as one that looks well.
            let message = format!("the cluster port cannot be served: {error}; restart this member");
            host.fail(Failure::new(Exit::Refused, message));
        }
    });
    parts.tasks.spawn(gossip::run(directory.clone(), parts.ap.clone(), parts.stop.clone()));
    parts.tasks.spawn(bootstrap::run(parts.clone(), directory));
}

fn app(parts: &Arc<Parts>, config_metrics: Arc<ConfigMetrics>, prometheus: Prometheus) -> App {
    App {
        registry: parts.registry.clone(),
        ephemeral: parts.ap.clone(),
        propose: parts.raft.clone(),
        linearize: parts.raft.clone(),
        members: Arc::new(members::View(parts.clone())),
        configs: parts.sink.configs(),
        contents: parts.raft.contents(),
        push: parts.push.clone(),
        listeners: parts.listeners.clone(),
        clients: parts.connections.clone(),
        switches: parts.sink.switches(),
        clock: Arc::new(clock::ProcessClock),
        ids: IdSource::new(parts.me.0),
        bounds: bounds(&parts.settings),
        budget: parts.budget.clone(),
        places: parts.places.clone(),
        config_metrics,
        turns: Turns::default(),
        prometheus: Arc::new(prometheus),
    }
}

fn grpc_limits(settings: &Settings) -> GrpcLimits {
    let own_ip = match &settings.advertise {
        Some(own) => own.host.clone(),
        None => settings.bind.to_string(),
    };
    GrpcLimits { own_ip, ..GrpcLimits::default() }
}

fn bounds(settings: &Settings) -> Bounds {
    let from = &settings.limits;
    Bounds {
        instances: from.instances,
        services: from.services,
        per_service: from.instances_per_service,
        metadata: from.metadata,
        page: from.page,
        config_quotas: settings.config.quotas,
    }
}

/// HTTP is served until the stop: an end before it is a failure.
fn ended_early(ended: Result<Result<Drained, Failure>, JoinError>) -> Failure {
    match ended {
        Ok(Err(failure)) => failure,
        Ok(Ok(_)) => Failure::new(Exit::Refused, "the HTTP port was closed"),
        Err(error) => Failure::new(Exit::Refused, format!("the HTTP port was closed: {error}")),
    }
}

fn any(port: u16) -> SocketAddr {
    SocketAddr::from(([0, 0, 0, 0], port))
}

async fn listen(address: SocketAddr, what: &str, setting: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|e| Failure::listen(what, &address.to_string(), setting, &e))
}
