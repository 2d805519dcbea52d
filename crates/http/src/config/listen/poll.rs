//! `POST /v1/cs/configs/listener`: the long poll of HTTP clients (`LongPollingService`).

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use dyad_types::ConfigKey;
use dyad_types::check::{self, Input};
use http::header::{CACHE_CONTROL, EXPIRES, HeaderName, HeaderValue, PRAGMA};

use super::format::{self, Record};
use crate::config::request::client_ip;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::read;
use dyad_app::{App, Caller, Fault};
use dyad_push::config::poll::{Asking, Waiting, Wanted};
use dyad_push::config::{ListenLimits, Reported};
use tokio::task::consume_budget;

/// The time for which a client waits, in milliseconds; without it the answer comes at once.
const TIMEOUT: &str = "long-pulling-timeout";
const NO_HANGUP: &str = "long-pulling-timeout-no-hangup";
/// So much earlier than its client the server gives up (`fixedDelayTime`).
const EARLIER: Duration = Duration::from_millis(500);
/// Clients from this version on are not told the result in headers.
const NO_HEADERS_FROM: u32 = 204;
const OLD_VERSION: &str = "2.0.0";
const OLD_RESULT: HeaderName = HeaderName::from_static("probe-modify-response");
const RESULT: HeaderName = HeaderName::from_static("probe-modify-response-new");

/// Who has something else than there is hears of it at once, of all of it; who has it waits for the first change.
pub(crate) fn listener(app: &Arc<App>, params: &Params) -> Step {
    Step::of(asked(app, params).map(|poll| {
        let app = Arc::clone(app);
        Step::hold(async move |lease| {
            let begun = poll.begin(&app).await?;
            drop(lease);
            match begun {
                Begun::Answered(reply) => Ok(reply),
                Begun::Waits(waiting, hold) => Ok(match waiting.first(hold).await {
                    Some(first) => {
                        let key = first.key();
                        reply([(key.data_id(), key.group(), first.tenant())])
                    }
                    None => reply([]),
                }),
            }
        })
    }))
}

/// A poll as it was asked.
struct Poll {
    /// The records as the client sent them; they are read when the poll begins.
    text: String,
    asking: Asking,
    caller: Caller,
    /// `None` for a client that does not wait.
    hold: Option<Duration>,
    no_hangup: bool,
    version: Option<Box<str>>,
}

enum Begun {
    Answered(Reply),
    /// It waits for so long.
    Waits(Waiting, Duration),
}

fn malformed() -> Fault {
    Fault::Invalid("invalid probeModify".into())
}

fn asked(app: &App, params: &Params) -> Result<Poll, Fault> {
    let text = params.get(Key::ListeningConfigs).ok_or_else(malformed)?;
    let boxed = |name| params.rest.header(name).map(Box::from);
    Ok(Poll {
        text: format::decoded(text).into_owned(),
        asking: Asking {
            peer: params.rest.peer.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ip: client_ip(params).into(),
            tag: boxed("vipserver-tag"),
            app: boxed("client-appname").unwrap_or_default(),
        },
        caller: params.caller(),
        hold: hold(params.rest.header(TIMEOUT), app.listeners.limits())?,
        no_hangup: params.rest.header(NO_HANGUP).is_some_and(|flag| flag.eq_ignore_ascii_case("true")),
        version: boxed("client-version"),
    })
}

impl Poll {
    /// Compares the client with what there is. It makes room for other tasks on its way: ten thousand names take
    /// milliseconds, and one client can ask for them many times at once.
    async fn begin(self, app: &App) -> Result<Begun, Fault> {
        let records = format::parse(&self.text).map_err(|format::Malformed| malformed())?;
        let mut all = Vec::with_capacity(records.len());
        for record in &records {
            consume_budget().await;
            let wanted = wanted(record)?;
            read::listens(app, &self.caller, &wanted.key)?;
            all.push(wanted);
        }
        let mut changed = Vec::new();
        for (record, wanted) in records.iter().zip(&all) {
            consume_budget().await;
            if self.asking.differs(&app.listeners, wanted) {
                changed.push(record);
            }
        }
        let Some(hold) = self.hold else {
            return Ok(Begun::Answered(headers_of(&changed, self.version.as_deref())));
        };
        if !changed.is_empty() || self.no_hangup {
            return Ok(Begun::Answered(body_of(&changed)));
        }
        Ok(Begun::Waits(Waiting::begin(&app.listeners, self.asking, &all).await?, hold))
    }
}

/// The parameter check of a record, then the configuration that it names.
fn wanted<'a>(record: &Record<'a>) -> Result<Wanted<'a>, Fault> {
    check::check(&Input {
        namespace_id: Some(record.tenant),
        data_id: Some(record.data_id),
        group: Some(record.group),
        ..Input::default()
    })?;
    Ok(Wanted {
        key: ConfigKey::new(record.tenant, record.group, record.data_id),
        tenant: record.tenant,
        reported: Reported::parse(record.md5),
    })
}

/// How long a client waits; `None` for one that does not.
fn hold(timeout: Option<&str>, limits: &ListenLimits) -> Result<Option<Duration>, Fault> {
    let Some(text) = timeout else { return Ok(None) };
    let wrong = || Fault::Invalid(format!("{TIMEOUT}: {text:?} is no number of milliseconds"));
    let ms: i64 = text.parse().map_err(|_| wrong())?;
    let asked = Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    Ok(Some(asked.saturating_sub(EARLIER).min(limits.hold_max).max(limits.hold_min)))
}

fn names<'a>(record: &Record<'a>) -> (&'a str, &'a str, &'a str) {
    (record.data_id, record.group, record.tenant)
}

fn body_of(changed: &[&Record<'_>]) -> Reply {
    reply(changed.iter().map(|record| names(record)))
}

/// The result of a poll without a time, which old clients find in headers, and others nowhere.
fn headers_of(changed: &[&Record<'_>], version: Option<&str>) -> Reply {
    let mut reply = reply([]);
    if format::version_number(version.unwrap_or(OLD_VERSION)) < NO_HEADERS_FROM {
        let old = format::changed_old(changed.iter().map(|record| names(record)));
        let new = format::changed(changed.iter().map(|record| names(record)));
        for (name, value) in [(OLD_RESULT, old), (RESULT, new)] {
            // What was checked has no character that a header cannot have.
            if let Ok(value) = HeaderValue::from_str(&value) {
                reply.headers.insert(name, value);
            }
        }
    }
    reply
}

/// The changed configurations, and a line's end; nothing at all when there are none.
fn reply<'a>(changed: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> Reply {
    let mut body = format::changed(changed);
    if !body.is_empty() {
        body.push('\n');
    }
    let mut reply = Reply::new(Kind::JsonUtf8, body);
    reply.headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    reply.headers.insert(EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
    reply.headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store"));
    reply
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poll_is_held_as_nacos_holds_it() {
        let limits = ListenLimits::default();
        for (header, want_ms) in [
            (None, None),
            (Some("30000"), Some(29_500)),
            (Some("12000"), Some(11_500)),
            (Some("10000"), Some(10_000)),
            (Some("1"), Some(10_000)),
            (Some("-5"), Some(10_000)),
            (Some("9223372036854775807"), Some(120_000)),
        ] {
            assert_eq!(hold(header, &limits), Ok(want_ms.map(Duration::from_millis)), "{header:?}");
        }
        for bad in ["", "30s", "9223372036854775808"] {
            assert!(hold(Some(bad), &limits).is_err(), "{bad:?}");
        }
    }
}
