//! The way from a request to its row of the table: the checks that every request needs, the body, the handler, and the
//! counting of the answer.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use crate::connections::Watched;
use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::routing::{MethodFilter, on};
use bytes::{Bytes, BytesMut};
use encoding_rs::Encoding;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, ORIGIN, USER_AGENT};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::fault::{self, Refusal};
use crate::limits::Limits;
use crate::metrics::HttpMetrics;
use crate::multipart::Multipart;
use crate::params::{Key, Params, Rest};
use crate::reply::{Outgoing, Pieces, Reply};
use crate::routes::{self, BodyLimit, ROUTES};
use crate::step::Step;
use dyad_app::{App, Fault};
use dyad_push::udp::{Asker, Udp};
use dyad_types::budget::{Full, Lease, Part, SMALL};

/// Where Nacos 3 has what its console asks for.
const CONSOLE: &str = "/v3/console/";

/// A body: a form, or anything else, which most routes ignore as the servlet API does.
#[derive(Debug, Default)]
struct Sent {
    form: Bytes,
    body: Bytes,
    /// The room of these bytes and of what is made of them.
    lease: Option<Lease>,
}

/// The other end of the connection, on its way through axum's router.
#[derive(Clone, Copy, Debug)]
struct Peer(IpAddr);

fn with_peer(request: http::Request<Watched>, peer: IpAddr) -> Request {
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(Peer(peer));
    request
}

/// The front end of one process; clones share everything.
#[derive(Clone, Debug)]
pub(crate) struct Front {
    shared: Arc<Shared>,
    router: Router,
}

#[derive(Debug)]
struct Shared {
    app: Arc<App>,
    metrics: Arc<HttpMetrics>,
    limits: Limits,
    /// Who pushes to clients that ask for it by UDP.
    udp: Option<Arc<Udp>>,
}

impl Front {
    pub(crate) fn new(
        app: Arc<App>,
        metrics: Arc<HttpMetrics>,
        limits: Limits,
        udp: Option<Arc<Udp>>,
    ) -> Front {
        let shared = Arc::new(Shared { app, metrics, limits, udp });
        let router = router(&shared);
        Front { shared, router }
    }

    /// Answers a request that is not dispatched.
    pub(crate) fn refuse(&self, refusal: &Refusal, path: &str) -> Response<Outgoing> {
        self.shared.refuse(refusal, path).map(Outgoing::Pieces)
    }

    /// Answers one request of the client at `peer`. Hot rows are found by comparing strings, all others by axum's router.
    pub(crate) fn call(
        &self,
        request: http::Request<Watched>,
        peer: IpAddr,
    ) -> impl Future<Output = Response<Outgoing>> + use<> {
        let shared = self.shared.clone();
        let hot = routes::hot(request.method(), request.uri().path());
        let router = if hot.is_none() { Some(self.router.clone()) } else { None };
        async move {
            if let Err(error) = admit(&request, &shared.limits) {
                return shared.refuse(&error, request.uri().path()).map(Outgoing::Pieces);
            }
            match (hot, router) {
                (Some(row), _) => shared.answer(row, request, Some(peer)).await.map(Outgoing::Pieces),
                (None, Some(router)) => match router.oneshot(with_peer(request, peer)).await {
                    Ok(response) => response.map(Outgoing::Axum),
                    Err(never) => match never {},
                },
                (None, None) => shared.refuse(&Refusal::NotFound, request.uri().path()).map(Outgoing::Pieces),
            }
        }
    }
}

impl Shared {
    /// Runs a row's handler.
    async fn answer<B>(&self, row: usize, request: http::Request<B>, peer: Option<IpAddr>) -> Response<Pieces>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        let started = Instant::now();
        let route = &ROUTES[row];
        let (head, body) = request.into_parts();
        let body = self.body(&head.headers, route.body, peer, body).await;
        let path = head.uri.path();
        let reply = match body {
            Ok(mut sent) => {
                let mut lease = sent.lease.take();
                let result = match self.params(head.uri.query(), head.headers, sent, peer) {
                    Ok(params) => match (route.handler)(&self.app, &params) {
                        Step::Done(result) => result,
                        Step::Wait(work) => {
                            drop(params);
                            work.await
                        }
                        Step::Hold(work) => {
                            drop(params);
                            work(lease.take()).await
                        }
                    },
                    Err(fault) => Err(fault),
                };
                let answer = |fault| fault::reply(&fault, route.generation, path, self.app.clock.wall_ms());
                self.hold(result.unwrap_or_else(answer), peer)
                    .unwrap_or_else(|full| full.reply(path, self.app.clock.wall_ms()))
            }
            Err(refusal) => refusal.reply(path, self.app.clock.wall_ms()),
        };
        self.metrics.observe(row, reply.status.as_u16(), started.elapsed());
        reply.into_http()
    }

    /// The parameters of the query and of the body.
    fn params(
        &self,
        query: Option<&str>,
        headers: HeaderMap,
        sent: Sent,
        peer: Option<IpAddr>,
    ) -> Result<Params, Fault> {
        let Sent { form, body, .. } = sent;
        let parts = Multipart::parse(&headers, &body).map_err(Fault::Invalid)?;
        let charset = if form.is_empty() { None } else { charset(&headers) };
        let mut params = Params::read(query.unwrap_or_default(), &form, &parts, charset);
        if params.get(Key::UdpPort).is_some() {
            params.asker = self.asker(&headers, peer);
        }
        params.rest = Rest { headers, peer, body, file: parts.file().cloned() };
        Ok(params)
    }

    /// Takes room for an answer until the client has it.
    fn hold(&self, mut reply: Reply, peer: Option<IpAddr>) -> Result<Reply, Refusal> {
        let len = reply.body.len();
        let lease = match reply.lease.take() {
            Some(mut lease) => {
                if len > lease.amount() {
                    lease.grow(len - lease.amount())?;
                }
                Some(lease)
            }
            None => self.app.budget.take(Part::Answers, known(peer), len)?,
        };
        if let Some(lease) = lease {
            reply.body.bind(lease);
        }
        Ok(reply)
    }

    fn asker(&self, headers: &HeaderMap, peer: Option<IpAddr>) -> Option<Asker> {
        let agent = headers.get(USER_AGENT)?.to_str().ok()?;
        Some(Asker { udp: self.udp.clone()?, ip: peer?, agent: agent.into() })
    }

    /// Reads the body within its limit and the room that there is.
    async fn body<B>(
        &self,
        headers: &HeaderMap,
        limit: BodyLimit,
        peer: Option<IpAddr>,
        body: B,
    ) -> Result<Sent, Refusal>
    where
        B: HttpBody<Data = Bytes> + Unpin,
    {
        if body.is_end_stream() {
            return Ok(Sent::default());
        }
        if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") {
            return Err(Refusal::ContentEncoding(String::from_utf8_lossy(encoding.as_bytes()).into_owned()));
        }
        let max = self.body_max(limit);
        let announced =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > max as u64) {
            return Err(Refusal::BodyTooLarge(max));
        }
        let announced = announced.map_or(0, |length| length as usize);
        let lease = self.app.budget.take(Part::Bodies, known(peer), announced)?;
        let held = Held { app: &self.app, address: known(peer), room: announced.max(SMALL), lease };
        let deadline = self.limits.body_read;
        let (bytes, lease) = match tokio::time::timeout(deadline, collect(body, (announced, max), held)).await
        {
            Ok(bytes) => bytes?,
            Err(_) => return Err(Refusal::BodyTimeout(deadline.as_millis() as u64)),
        };
        let form = headers.get(CONTENT_TYPE).is_some_and(|kind| is_form(kind.as_bytes()));
        Ok(if form {
            Sent { form: bytes, lease, ..Sent::default() }
        } else {
            Sent { body: bytes, lease, ..Sent::default() }
        })
    }

    fn body_max(&self, limit: BodyLimit) -> usize {
        match limit {
            BodyLimit::Form => self.limits.naming_body,
            BodyLimit::Content => self.limits.config_body,
            BodyLimit::Other => self.limits.body,
        }
    }

    fn refuse(&self, error: &Refusal, path: &str) -> Response<Pieces> {
        let reply = error.reply(path, self.app.clock.wall_ms());
        self.metrics.observe(usize::MAX, reply.status.as_u16(), std::time::Duration::ZERO);
        reply.into_http()
    }
}

/// One row of axum's router per row of the table, with and without a trailing slash.
fn router(shared: &Arc<Shared>) -> Router {
    let mut router = Router::new();
    for (row, route) in ROUTES.iter().enumerate() {
        let shared = shared.clone();
        let handler = move |request: Request| async move {
            let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
            shared.answer(row, request, peer).await.map(Body::new)
        };
        let filter =
            MethodFilter::try_from(route.method.clone()).expect("the table has standard methods only");
        // Nacos 3 serves its console without the context path.
        if let Some(path) = route.path.strip_prefix("/nacos").filter(|path| path.starts_with(CONSOLE)) {
            router = router.route(path, on(filter, handler.clone()));
        }
        if route.path != "/" {
            router = router.route(&format!("{}/", route.path), on(filter, handler.clone()));
        }
        router = router.route(route.path, on(filter, handler));
    }
    let shared = shared.clone();
    let unknown = move |request: Request| async move {
        let path = request.uri().path();
        let error = if routes::NOT_IMPLEMENTED.iter().any(|beginning| path.starts_with(beginning)) {
            Refusal::NoSuchApi { method: request.method().to_string(), uri: path.to_owned() }
        } else {
            Refusal::NotFound
        };
        shared.refuse(&error, path).map(Body::new)
    };
    router.fallback(unknown.clone()).method_not_allowed_fallback(unknown)
}

/// What holds for every request before anything of it is read further. No header grants anything here.
fn admit<B>(request: &http::Request<B>, limits: &Limits) -> Result<(), Refusal> {
    let uri = request.uri().path_and_query().map_or(0, |target| target.as_str().len());
    if uri > limits.head {
        return Err(Refusal::UriTooLong(limits.head));
    }
    let headers = request.headers();
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
    if uri + size > limits.head {
        return Err(Refusal::HeadersTooLarge(limits.head));
    }
    match headers.get(ORIGIN) {
        Some(origin) if !same_site(origin.as_bytes(), headers.get(HOST).map(|host| host.as_bytes())) => {
            Err(Refusal::ForeignOrigin)
        }
        _ => Ok(()),
    }
}

/// Does this `Origin` name the host that was asked? The port may differ: behind a proxy that ends TLS the server sees another
/// one than the browser.
fn same_site(origin: &[u8], host: Option<&[u8]>) -> bool {
    let origin = match origin {
        [b'h', b't', b't', b'p', b':', b'/', b'/', rest @ ..] => rest,
        [b'h', b't', b't', b'p', b's', b':', b'/', b'/', rest @ ..] => rest,
        _ => return false,
    };
    host.is_some_and(|host| name_of(origin).eq_ignore_ascii_case(name_of(host)))
}

/// An authority without its port; the address of IPv6 stands in brackets.
fn name_of(authority: &[u8]) -> &[u8] {
    let begin = authority.iter().rposition(|&b| b == b']').unwrap_or(0);
    match authority[begin..].iter().position(|&b| b == b':') {
        // What follows a colon and is no port makes it another host, or none.
        Some(colon) if authority[begin + colon + 1..].iter().all(u8::is_ascii_digit) => {
            &authority[..begin + colon]
        }
        _ => authority,
    }
}

/// The charset that the request names for its form.
fn charset(headers: &HeaderMap) -> Option<&'static Encoding> {
    let kind = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let label = kind.split(';').skip(1).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then_some(value)
    })?;
    Encoding::for_label(label.trim().trim_matches('"').as_bytes())
}

/// The client's address. It is known of every request that came over a socket.
fn known(peer: Option<IpAddr>) -> IpAddr {
    peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

fn is_form(content_type: &[u8]) -> bool {
    const FORM: &[u8] = b"application/x-www-form-urlencoded";
    let end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
    content_type[..end].trim_ascii().eq_ignore_ascii_case(FORM)
}

/// The room of a body that is being read.
struct Held<'a> {
    app: &'a App,
    address: IpAddr,
    /// Bytes that the body may have without asking for more.
    room: usize,
    lease: Option<Lease>,
}

impl Held<'_> {
    /// The body, which was not announced, has grown to `len` bytes; it may have `max`.
    fn reach(&mut self, len: usize, max: usize) -> Result<(), Full> {
        if len <= self.room {
            return Ok(());
        }
        let room = len.max(2 * self.room).min(max);
        match &mut self.lease {
            Some(lease) => lease.grow(room - self.room)?,
            None => self.lease = self.app.budget.take(Part::Bodies, self.address, room)?,
        }
        self.room = room;
        Ok(())
    }
}

/// Reads the body; one that came in one piece is not copied. The lease is for the room that it has taken.
async fn collect<B>(
    mut body: B,
    (announced, max): (usize, usize),
    mut held: Held<'_>,
) -> Result<(Bytes, Option<Lease>), Refusal>
where
    B: HttpBody<Data = Bytes> + Unpin,
{
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + all.len() + piece.len() > max {
            return Err(Refusal::BodyTooLarge(max));
        }
        held.reach(first.len() + all.len() + piece.len(), max)?;
        if first.is_empty() && all.is_empty() {
            first = piece;
        } else {
            if all.is_empty() {
                all.reserve(announced);
                all.extend_from_slice(&std::mem::take(&mut first));
            }
            all.extend_from_slice(&piece);
        }
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    Ok((bytes, held.lease))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_accepted_only_when_it_is_the_host() {
        for (origin, host, same) in [
            ("http://127.0.0.1:8848", Some("127.0.0.1:8848"), true),
            ("http://LOCALHOST:8848", Some("localhost:8848"), true),
            ("http://dyad", Some("dyad:80"), true),
            ("https://dyad:443", Some("dyad"), true),
            ("http://evil.example", Some("127.0.0.1:8848"), false),
            ("http://127.0.0.1:8849", Some("127.0.0.1:8848"), true),
            ("http://127.0.0.1:8848.evil.example", Some("127.0.0.1:8848"), false),
            ("null", Some("127.0.0.1:8848"), false),
            ("file://", Some(""), false),
            ("http://a", None, false),
        ] {
            assert_eq!(same_site(origin.as_bytes(), host.map(str::as_bytes)), same, "{origin} {host:?}");
        }
    }

    #[test]
    fn only_forms_are_read_as_forms() {
        for (kind, form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-URLEncoded;charset=UTF-8", true),
            ("application/json", false),
            ("application/x-www-form-urlencoded2", false),
            ("", false),
        ] {
            assert_eq!(is_form(kind.as_bytes()), form, "{kind}");
        }
    }
}
