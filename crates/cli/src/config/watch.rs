//! `dyad config watch`: long polls that go on to another server when one dies.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use http::Method;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

use super::args::WatchArgs;
use super::diff::unified;
use super::key::named;
use crate::client::Request;
use crate::exit::{Exit, Failure};
use crate::output::{note, print_while_read};
use crate::remote::Remote;
use crate::text::moment;

/// For so long a poll waits for a change.
const HOLD: Duration = Duration::from_secs(30);
/// A poll without an answer after this: its server, or the way to it, is dead.
const POLL_MAX: Duration = Duration::from_secs(45);
/// The pause when no server answered, doubled each time up to the last.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_MAX: Duration = Duration::from_secs(8);
/// The pause when a server announced a change that it does not show: it is behind the others.
const BEHIND: Duration = Duration::from_millis(200);
/// Data ids of one watch: the servers read one poll of so many with ease.
const WATCHED_MAX: usize = 1_000;

/// What is there, as last seen.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    md5: String,
    kind: String,
    content: String,
}

/// Watches until it is told to end, or standard output closes.
pub(super) async fn watch(remote: &mut Remote, args: WatchArgs) -> Result<(), Failure> {
    if args.data_ids.len() > WATCHED_MAX {
        let message = format!("{} data ids are over the limit of {WATCHED_MAX}", args.data_ids.len());
        return Err(Failure::new(Exit::Settings, message));
    }
    let mut watch = Watch { remote, args: &args, seen: BTreeMap::new() };
    let mut pause = PAUSE;
    let mut failed = 0;
    let mut due: Vec<String> = args.data_ids.clone();
    loop {
        let round = watch.round(&mut due).await;
        match round {
            Ok(Round::Closed) => return Ok(()),
            Ok(Round::Changed) if args.once => return Ok(()),
            Ok(Round::Changed | Round::Waited) => (failed, pause) = (0, PAUSE),
            Ok(Round::Behind) => tokio::time::sleep(BEHIND).await,
            Err(Trouble::Refused(failure)) => return Err(failure),
            Err(Trouble::Gone(why)) => {
                let (from, servers) =
                    (watch.remote.client.server().to_owned(), watch.remote.client.servers());
                watch.remote.client.next();
                note(&format!("{from}: {why}; going on with {}", watch.remote.client.server()));
                failed += 1;
                if failed % servers == 0 {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(PAUSE_MAX);
                }
            }
        }
    }
}

struct Watch<'a> {
    remote: &'a mut Remote,
    args: &'a WatchArgs,
    /// By data id; a data id that was not read yet is not in it.
    seen: BTreeMap<String, Option<Seen>>,
}

/// How a round ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// A change was printed.
    Changed,
    Waited,
    Behind,
    /// Nobody reads what is printed.
    Closed,
}

enum Trouble {
    /// This server does not do; another one may.
    Gone(String),
    /// The request is wrong everywhere.
    Refused(Failure),
}

impl Watch<'_> {
    /// Reads what is due; then, when nothing is, waits for the next change, which becomes due.
    async fn round(&mut self, due: &mut Vec<String>) -> Result<Round, Trouble> {
        let polled = due.is_empty();
        if polled {
            *due = self.poll().await?;
            if due.is_empty() {
                return Ok(Round::Waited);
            }
        }
        let mut changed = false;
        // Each is done only when it was read: what a dying server did not answer is read from the next one.
        while let Some(data_id) = due.last().cloned() {
            let now = self.read(&data_id).await?;
            due.pop();
            let before = self.seen.insert(data_id.clone(), now.clone());
            if before.as_ref() == Some(&now) {
                continue;
            }
            changed |= before.is_some();
            if !self.print(&data_id, before.as_ref(), now.as_ref()).map_err(Trouble::Refused)? {
                return Ok(Round::Closed);
            }
        }
        Ok(match (changed, polled) {
            (true, _) => Round::Changed,
            (false, true) => Round::Behind,
            (false, false) => Round::Waited,
        })
    }

    /// The data ids that have another content than was seen.
    async fn poll(&mut self) -> Result<Vec<String>, Trouble> {
        let place = &self.args.place;
        let md5 = |seen: &Option<Seen>| seen.as_ref().map_or("", |seen| &seen.md5).to_owned();
        let record = |(data_id, seen): (&String, &Option<Seen>)| {
            format!("{data_id}\u{2}{}\u{2}{}\u{2}{}\u{1}", place.group, md5(seen), place.namespace)
        };
        let records: String = self.seen.iter().map(record).collect();
        let request = Request::new(Method::POST, "/v1/cs/configs/listener")
            .header("long-pulling-timeout", HOLD.as_millis().to_string())
            .form(&[("Listening-Configs", &records)])
            .within(POLL_MAX);
        let answer =
            self.remote.client.ask(&request).await.map_err(|broken| Trouble::Gone(broken.to_string()))?;
        match answer.status {
            200 => Ok(changed(&answer.body).into_iter().filter(|id| self.seen.contains_key(id)).collect()),
            400 | 403 => Err(Trouble::Refused(answer.failure())),
            _ => Err(Trouble::Gone(answer.failure().message)),
        }
    }

    /// What this reader gets of a configuration, gray releases for its address included, as the poll compares it.
    async fn read(&mut self, data_id: &str) -> Result<Option<Seen>, Trouble> {
        let request = Request::get("/v1/cs/configs")
            .with("dataId", data_id)
            .with("group", &self.args.place.group)
            .with("tenant", &self.args.place.namespace);
        let answer =
            self.remote.client.ask(&request).await.map_err(|broken| Trouble::Gone(broken.to_string()))?;
        let header = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        match answer.status {
            200 => Ok(Some(Seen {
                md5: header("content-md5"),
                kind: header("config-type"),
                content: String::from_utf8_lossy(&answer.body).into_owned(),
            })),
            404 => Ok(None),
            400 | 403 => Err(Trouble::Refused(answer.failure())),
            _ => Err(Trouble::Gone(answer.failure().message)),
        }
    }

    /// One event: a line of JSON, or a line and the difference. False when nobody reads it.
    ///
    /// # Errors
    /// It cannot be written.
    fn print(
        &self,
        data_id: &str,
        before: Option<&Option<Seen>>,
        now: Option<&Seen>,
    ) -> Result<bool, Failure> {
        let place = &self.args.place;
        let event = match (before, now) {
            (None, Some(_)) => "present",
            (None | Some(_), None) if before.is_none_or(Option::is_none) => "absent",
            (_, None) => "removed",
            (Some(None), Some(_)) => "created",
            (Some(Some(_)), Some(_)) => "changed",
        };
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = time.as_millis() as u64;
        let shown = if self.remote.is_json() {
            let of = |part: fn(&Seen) -> &String| now.map_or(Value::Null, |now| part(now).clone().into());
            let event = json!({
                "event": event,
                "time": time,
                "namespaceId": place.namespace,
                "groupName": place.group,
                "dataId": data_id,
                "md5": of(|now| &now.md5),
                "type": of(|now| &now.kind),
                "content": of(|now| &now.content),
            });
            format!("{event}\n")
        } else {
            let name = named(&place.namespace, &place.group, data_id);
            let what = now.map(|now| format!("  md5 {}, {} bytes", now.md5, now.content.len()));
            let old = before.and_then(Option::as_ref).map_or("", |seen| &seen.content);
            let new = now.map_or("", |now| &now.content);
            let diff = if before.is_some() { unified(("before", old), ("now", new)) } else { String::new() };
            format!("{}  {event}  {name}{}\n{diff}", moment(time), what.unwrap_or_default())
        };
        print_while_read(shown.as_bytes())
    }
}

/// The data ids in the answer of a poll.
fn changed(body: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(body).trim().replace('+', " ");
    let text = percent_decode_str(&text).decode_utf8_lossy().into_owned();
    let records = text.split('\u{1}').filter_map(|record| record.split('\u{2}').next());
    records.filter(|data_id| !data_id.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::changed;

    #[test]
    fn polls_name_what_changed() {
        for (body, want) in [
            ("", vec![]),
            ("\n", vec![]),
            ("a.b%02G%01\n", vec!["a.b"]),
            ("a%3Ab%02G%02dev%01%E4%B8%AD%02G%02dev%01\n", vec!["a:b", "中"]),
        ] {
            assert_eq!(changed(body.as_bytes()), want, "{body:?}");
        }
    }
}
