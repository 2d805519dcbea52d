//! The answer of a handler: a status, and a body of ready pieces, so that prepared bytes reach the socket without a copy.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::response::IntoResponse;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, EXPIRES, HeaderName, HeaderValue, PRAGMA,
    REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::{Frame, SizeHint};

use dyad_types::budget::Lease;

/// What every HTML answer carries: nothing is loaded from elsewhere, and the page stands in no frame.
const HTML_HEADERS: [(HeaderName, HeaderValue); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; \
             img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        ),
    ),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
];

/// The content types of the front end, spelled as Nacos spells them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Json,
    /// The same as [`Kind::Json`], in the spelling of the configuration API v1.
    JsonUtf8,
    Html,
    /// A file to be saved.
    Zip,
    /// The text format of Prometheus, version 0.0.4.
    Metrics,
    OpenMetrics,
    /// No content type, for the answers of Nacos's parameter check.
    Bare,
}

/// An answer before it is an HTTP response.
#[derive(Debug)]
pub struct Reply {
    pub status: StatusCode,
    pub kind: Kind,
    /// The headers besides the content type.
    pub headers: HeaderMap,
    pub body: Pieces,
    /// Room that was taken before the body was made. The body keeps it.
    pub(crate) lease: Option<Lease>,
}

impl Reply {
    /// An answer with status 200.
    pub fn new(kind: Kind, body: impl Into<Bytes>) -> Reply {
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        Reply { status, kind, headers, body: Pieces::one(body.into()), lease: None }
    }

    pub fn text(body: impl Into<Bytes>) -> Reply {
        Reply::new(Kind::Text, body)
    }

    pub fn json(body: impl Into<Bytes>) -> Reply {
        Reply::new(Kind::Json, body)
    }

    /// JSON of three ready pieces, none of which is copied.
    pub fn json_pieces(first: Bytes, second: Bytes, third: Bytes) -> Reply {
        Reply {
            status: StatusCode::OK,
            kind: Kind::Json,
            headers: HeaderMap::new(),
            body: Pieces { pieces: [first, second, third], next: 0 },
            lease: None,
        }
    }

    /// The answer, for which there is room already.
    pub(crate) fn leased(self, lease: Option<Lease>) -> Reply {
        Reply { lease, ..self }
    }

    /// The plain `ok` of v1 writes.
    pub fn ok() -> Reply {
        Reply::text(Bytes::from_static(b"ok"))
    }

    pub fn into_http(self) -> Response<Pieces> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        let headers = response.headers_mut();
        let content_type = match self.kind {
            Kind::Text => "text/plain;charset=UTF-8",
            Kind::Json => "application/json",
            Kind::JsonUtf8 => "application/json;charset=UTF-8",
            Kind::Zip => "application/octet-stream",
            Kind::Html => {
                headers.extend(HTML_HEADERS);
                "text/html;charset=UTF-8"
            }
            Kind::Metrics => "text/plain; version=0.0.4; charset=utf-8",
            Kind::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Kind::Bare => {
                headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
                headers.insert(EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
                return response;
            }
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        response
    }
}

impl IntoResponse for Reply {
    fn into_response(self) -> axum::response::Response {
        self.into_http().map(Body::new)
    }
}

/// A body of up to three pieces, each written as it is.
#[derive(Debug, Default)]
pub struct Pieces {
    pieces: [Bytes; 3],
    next: usize,
}

impl Pieces {
    pub fn one(bytes: Bytes) -> Pieces {
        Pieces { pieces: [bytes, Bytes::new(), Bytes::new()], next: 0 }
    }

    /// The first piece.
    pub fn first(&self) -> &Bytes {
        &self.pieces[0]
    }

    /// All pieces as one; a single one is not copied.
    pub(crate) fn into_bytes(self) -> Bytes {
        match &self.pieces {
            [only, second, third] if second.is_empty() && third.is_empty() => only.clone(),
            pieces => Bytes::from(pieces.concat()),
        }
    }

    /// The number of bytes not yet written.
    pub fn len(&self) -> usize {
        self.pieces[self.next.min(3)..].iter().map(Bytes::len).sum()
    }

    /// Holds the lease until the last byte is written.
    pub(crate) fn bind(&mut self, lease: Lease) {
        if let Some(last) = self.pieces.iter_mut().rfind(|piece| !piece.is_empty()) {
            *last = lease.bind(std::mem::take(last));
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        while let Some(piece) = {
            let at = self.next;
            self.pieces.get_mut(at)
        } {
            let piece = std::mem::take(piece);
            self.next += 1;
            if !piece.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
        }
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        self.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.len() as u64)
    }
}

/// The body of a response: either our own, or one that axum made.
#[derive(Debug)]
pub enum Outgoing {
    Pieces(Pieces),
    Axum(Body),
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match self.get_mut() {
            Outgoing::Pieces(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Outgoing::Axum(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Pieces(body) => body.is_end_stream(),
            Outgoing::Axum(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Pieces(body) => body.size_hint(),
            Outgoing::Axum(body) => body.size_hint(),
        }
    }
}
