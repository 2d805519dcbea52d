//! What each command does: CAS, gray releases, batches, history, rollback, retention, capacity, namespaces, repetition.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use common::{Log, command, done, key, publish, publish_if, remove};
use dyad_config::*;
use dyad_types::{ConfigKey, Md5};

fn gray(name: &str, rule: GrayRule, content: &str) -> Change {
    let draft = Draft::text(content);
    let rule = Arc::new(rule);
    Change::PublishGray(PublishGray { key: key("a"), name: name.into(), rule, draft, cas: None })
}

fn report(reply: ConfigReply) -> Vec<ItemOutcome> {
    match reply {
        ConfigReply::Report(outcomes) => outcomes.to_vec(),
        other => panic!("no report: {other:?}"),
    }
}

#[test]
fn a_cas_publish_replaces_only_the_release_it_knows() {
    let (v1, v2) = (Md5::of(b"v1"), Md5::of(b"v2"));
    // (present, cas, what is there afterwards; None: refused)
    for (present, cas, want) in [
        (None, v1, Some("new")),
        (Some("v1"), v1, Some("new")),
        (Some("v1"), v2, None),
        (Some("v1"), Md5::UNMATCHED, None),
    ] {
        let mut log = Log::default();
        if let Some(content) = present {
            log.publish("a", content);
        }
        let before = log.state.clone();
        let reply = log.reply(publish_if("a", "new", cas));
        match want {
            Some(_) => assert_eq!(done(&reply), Revision::new(log.index, 0)),
            None => {
                assert_eq!(reply, ConfigReply::CasMismatch { current: v1 });
                assert_eq!(log.state, before, "a refusal changes nothing");
            }
        }
        assert_eq!(log.content("a").as_deref(), want.or(present));
    }
}

#[test]
fn a_publish_keeps_id_creation_and_what_the_draft_leaves_out() {
    let mut log = Log::default();
    let mut draft = Draft::text("v1");
    draft.app_name = Some("app".into());
    draft.tags = Some(["t1".into(), "t2".into()].into());
    draft.desc = "first".into();
    let first = Publish { key: key("a"), draft, cas: None, enforce: false };
    let id = done(&log.reply(Change::Publish(first)));
    let second = log.publish("a", "v2");
    let release = log.state.item(&key("a")).unwrap().formal().unwrap().clone();
    assert_eq!((release.id, release.revision, release.md5), (id, second, Md5::of(b"v2")));
    assert_eq!(
        (release.created_ms, release.modified_ms, release.inline.as_deref()),
        (1_000, 2_000, Some("v2"))
    );
    let extra = release.extra();
    assert_eq!((&*extra.app_name, extra.tags.len(), &*extra.desc), ("app", 2, ""));
    let row = log.row(second);
    assert_eq!((&*row.user, &*row.ip, &*row.reason, row.cause), ("ann", "10.0.0.9", "test", Cause::Publish));
}

#[test]
fn a_content_over_four_kib_is_only_in_its_row() {
    let mut log = Log::default();
    for (len, inline) in [(4_096, true), (4_097, false)] {
        let (reply, changes) = log.apply(&command(publish("a", &"x".repeat(len))));
        let item = changes.changed[0].item.as_ref().unwrap();
        let release = item.formal().unwrap();
        assert_eq!((release.inline.is_some(), release.len), (inline, len as u32));
        assert_eq!(log.row(done(&reply)).content.unwrap().md5(), release.md5);
    }
}

#[test]
fn readers_get_the_release_of_the_first_rule_that_holds() {
    let mut log = Log::default();
    log.publish("a", "formal");
    let rule = |text: &str, priority| GrayRule::parse("tagv2", "1.1.0", text, priority).unwrap();
    for (name, rule) in [
        ("low", rule("env=dev||zone = z1 , z2 && env=prod", 1)),
        ("high", rule("env=prod&&app=shop", 2)),
        ("high2", rule("app=shop", 2)),
        ("tag_t", GrayRule::tag("t").unwrap()),
        ("beta", GrayRule::beta("10.0.0.1,10.0.0.2, 10.0.0.3").unwrap()),
    ] {
        done(&log.reply(gray(name, rule, name)));
    }
    let item = log.state.item(&key("a")).unwrap();
    let names: Vec<&str> = item.grays().iter().map(|g| &*g.name).collect();
    assert_eq!(names, ["beta", "tag_t", "high", "high2", "low"]);
    // (address, tag parameter, tag header, labels, the release)
    let table = [
        ("10.0.0.9", None, None, "", "formal"),
        ("10.0.0.2", None, None, "", "beta"),
        ("10.0.0.3", None, None, "", "formal"),
        ("10.0.0.2", Some("t"), None, "", "beta"),
        ("10.0.0.9", Some("t"), None, "", "tag_t"),
        ("10.0.0.9", None, Some("t"), "", "tag_t"),
        ("10.0.0.9", Some("z"), Some("t"), "", "absent"),
        ("10.0.0.9", None, Some("z"), "", "formal"),
        ("10.0.0.9", Some(" "), None, "", "formal"),
        ("10.0.0.9", None, None, "Vipserver-Tag=t", "tag_t"),
        ("10.0.0.9", None, None, "env=dev", "low"),
        ("10.0.0.9", None, None, "env=prod", "formal"),
        ("10.0.0.9", None, None, "env=prod zone=z2", "low"),
        ("10.0.0.9", None, None, "env=prod zone=z3", "formal"),
        ("10.0.0.9", None, None, "app=shop", "high2"),
        ("10.0.0.9", None, None, "app=shop env=prod", "high"),
    ];
    for (client_ip, tag, header_tag, labels, want) in table {
        let labels: BTreeMap<String, String> = labels
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='))
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        let reader = ReaderLabels { client_ip, tag, header_tag, labels: Some(&labels) };
        let got = match item.answer(&reader) {
            Answer::Formal(_) => "formal",
            Answer::Gray(gray) => &gray.name,
            Answer::Absent => "absent",
        };
        assert_eq!(got, want, "{reader:?}");
    }
}

#[test]
fn rules_that_do_not_parse_are_refused_by_what_is_wrong() {
    let long = "1".repeat(limits::GRAY_EXPRESSION_MAX + 1);
    for (kind, version, expression, unknown) in [
        ("beta", "2.0.0", "1.1.1.1", true),
        ("label", "1.0.0", "a=b", true),
        ("tagv2", "1.0.0", "a=b", true),
        ("beta", "1.0.0", " ", false),
        ("beta", "1.0.0", &*long, false),
        ("tagv2", "1.1.0", "a", false),
        ("tagv2", "1.1.0", "a=", false),
        ("tagv2", "1.1.0", "=b", false),
        ("tagv2", "1.1.0", "a=b&&", false),
        ("tagv2", "1.1.0", "a=b|c=d", false),
        ("tagv2", "1.1.0", "a=b&&a=c", false),
        ("tagv2", "1.1.0", "a=b c", false),
        ("tagv2", "1.1.0", "a=b=c", false),
    ] {
        let fault = GrayRule::parse(kind, version, expression, 0).unwrap_err();
        assert_eq!(matches!(fault, GrayFault::UnknownVersion { .. }), unknown, "{kind} {version} {fault}");
    }
}

#[test]
fn a_gray_release_needs_no_formal_one_and_an_eleventh_is_refused() {
    let mut log = Log::default();
    for n in 0..limits::GRAYS_MAX {
        done(&log.reply(gray(&format!("g{n}"), GrayRule::tag(&n.to_string()).unwrap(), "x")));
    }
    let tag = || GrayRule::tag("t").unwrap();
    assert_eq!(log.reply(gray("more", tag(), "x")), ConfigReply::Limit(ConfigLimit::Grays(10)));
    done(&log.reply(gray("g0", tag(), "y")));
    for name in ["", "a b", &*"n".repeat(129)] {
        assert_eq!(log.reply(gray(name, tag(), "x")), ConfigReply::BadName, "{name:?}");
    }
    let item = log.state.item(&key("a")).unwrap();
    assert!(item.is_present() && item.formal().is_none());
    assert_eq!(item.answer(&ReaderLabels::ip("10.0.0.1")), Answer::Absent);
    assert_eq!(log.state.usage(&Scope::Cluster), Usage::default(), "only formal releases count");
    assert_eq!(log.reply(remove("a", None)), ConfigReply::NotFound);
    let (_, changes) = log.apply(&command(remove("a", Some("g3"))));
    assert_eq!(changes.changed[0].item.as_ref().unwrap().grays().len(), 9);
}

#[test]
fn the_history_shows_what_was_before_on_every_path() {
    let mut log = Log::default();
    log.publish("a", "v1");
    let second = log.publish("a", "v2");
    done(&log.reply(gray("beta", GrayRule::beta("1.1.1.1").unwrap(), "b1")));
    done(&log.reply(gray("beta", GrayRule::beta("1.1.1.2").unwrap(), "b2")));
    done(&log.reply(remove("a", Some("beta"))));
    let rollback = |to, content: &str| Change::Rollback { key: key("a"), to, draft: Draft::text(content) };
    let back = done(&log.reply(rollback(second, "v1")));
    assert_eq!(log.row(back).cause, Cause::Rollback(second));
    done(&log.reply(remove("a", None)));
    assert_eq!(log.reply(remove("a", None)), ConfigReply::NotFound);
    assert_eq!(log.reply(rollback(Revision(77), "v1")), ConfigReply::NotFound);
    done(&log.reply(rollback(back, "v2")));
    let import = Import {
        items: vec![(key("a"), Draft::text("v3"))],
        policy: ImportPolicy::Overwrite,
        clone: true,
        enforce: false,
    };
    assert_eq!(report(log.reply(Change::Import(import))), [ItemOutcome::Updated]);
    let want = ["U =v2", "I =v2", "D =v1", "U =v2", "D beta=b2", "U beta=b1", "I beta=b1", "U =v1", "I =v1"];
    assert_eq!(log.history("a"), want);
    assert_eq!(log.content("a").as_deref(), Some("v3"));
    let page = log.state.history(&key("a"), PageRequest { number: 2, size: 4 });
    assert_eq!((page.total, page.page.len(), page.page[0].gray), (9, 4, Some("beta")));
}

#[test]
fn retention_keeps_what_is_shown_and_what_is_live_and_nothing_else() {
    let prune = |until_ms, keep| Change::Prune(Prune { until_ms, keep, from: None });
    // (until, keep, history afterwards, rows afterwards); the writes are at 1 s, 2 s, 3 s …
    for (until_ms, keep, want, rows) in [
        (0, 100, vec!["U =v2", "U beta=b1", "I beta=b1", "U =v1", "I =v1"], 5),
        (0, 2, vec!["U =v2", "U beta=b1"], 4),
        (4_000, 100, vec!["U =v2", "U beta=b1"], 4),
        (5_000, 100, vec!["U =v2"], 3),
        (0, 0, vec![], 2),
        (9_000, 100, vec![], 2),
    ] {
        let mut log = Log::default();
        log.publish("a", "v1");
        log.publish("a", "v2");
        done(&log.reply(gray("beta", GrayRule::beta("1.1.1.1").unwrap(), "b1")));
        done(&log.reply(gray("beta", GrayRule::beta("1.1.1.1").unwrap(), "b2")));
        log.publish("a", "v3");
        let due = log.state.prune_due(until_ms, keep, None).is_some();
        assert_eq!(due, want.len() < 5);
        let reply = log.reply(prune(until_ms, keep));
        assert_eq!(reply, ConfigReply::Pruned { dropped: 5 - rows as u64, next: None });
        assert_eq!((log.history("a"), log.store.len()), (want.iter().map(|s| s.to_string()).collect(), rows));
        assert_eq!(log.state.prune_due(until_ms, keep, None), None);
        assert_eq!(log.state.revisions().collect::<Vec<_>>(), log.store.keys().copied().collect::<Vec<_>>());
        // The next write still shows what was before it.
        log.publish("a", "v4");
        assert_eq!(log.history("a")[0], "U =v3");
        done(&log.reply(remove("a", None)));
        done(&log.reply(remove("a", Some("beta"))));
        log.reply(prune(u64::MAX, 0));
        assert_eq!((log.state.item(&key("a")), log.store.len()), (None, 0), "nothing is left of it");
    }
}

#[test]
fn an_insert_needs_no_row_of_what_was_removed_before_it() {
    let mut log = Log::default();
    log.publish("a", "v1");
    done(&log.reply(remove("a", None)));
    log.publish("a", "v2");
    let reply = log.reply(Change::Prune(Prune { until_ms: 0, keep: 1, from: None }));
    assert_eq!(reply, ConfigReply::Pruned { dropped: 2, next: None });
    assert_eq!((log.history("a"), log.store.len()), (vec!["I =v2".to_owned()], 1));
}

/// What a limit in bytes is reckoned with: the time from which on each row would go, whatever writes there were.
#[test]
fn what_can_be_dropped_goes_at_its_time_and_the_rest_stays() {
    let mut log = Log::default();
    log.publish("a", "v1");
    done(&log.reply(gray("beta", GrayRule::beta("1.1.1.1").unwrap(), "b1")));
    log.publish("a", "v2");
    done(&log.reply(gray("beta", GrayRule::beta("1.1.1.1").unwrap(), "b2")));
    done(&log.reply(remove("a", Some("beta"))));
    log.publish("b", "w1");
    done(&log.reply(remove("b", None)));
    log.publish("b", "w2");
    log.publish("a", "v3");
    log.reply(Change::Prune(Prune { until_ms: 2_000, keep: 100, from: None }));
    let droppable: Vec<_> = log.state.droppable().collect();
    let droppable = |until_ms: u64| droppable.iter().filter(move |(_, above)| *above < until_ms);
    assert_eq!(droppable(u64::MAX).count(), log.store.len() - 2, "all but the two that are released");
    for until_ms in (0..=12).map(|n| n * 1_000 + 1).chain([u64::MAX]) {
        let mut log = log.clone();
        let before: Vec<Revision> = log.store.keys().copied().collect();
        log.reply(Change::Prune(Prune { until_ms, keep: 100, from: None }));
        let mut gone: Vec<Revision> = droppable(until_ms).map(|(revision, _)| *revision).collect();
        gone.sort_unstable();
        let went: Vec<_> = before.into_iter().filter(|revision| !log.store.contains_key(revision)).collect();
        assert_eq!(went, gone, "until {until_ms}");
    }
}

#[test]
fn a_prune_is_bounded_and_says_where_to_go_on() {
    let mut log = Log::default();
    for n in 0..limits::PRUNE_ITEMS_MAX + 5 {
        log.publish(&format!("d{n:05}"), "x");
        log.publish(&format!("d{n:05}"), "y");
    }
    let due = log.state.prune_due(0, 1, None).cloned();
    let ConfigReply::Pruned { dropped, next } =
        log.reply(Change::Prune(Prune { until_ms: 0, keep: 0, from: due }))
    else {
        panic!("pruned")
    };
    assert_eq!((dropped, next.clone()), (limits::PRUNE_ITEMS_MAX as u64, Some(key("d01000"))));
    let rest = log.reply(Change::Prune(Prune { until_ms: 0, keep: 0, from: next }));
    assert_eq!(rest, ConfigReply::Pruned { dropped: 5, next: None });
}

#[test]
fn a_writer_in_a_loop_keeps_a_thousand_versions() {
    let mut log = Log::default();
    for n in 0..limits::HISTORY_MAX + 20 {
        log.publish("a", &n.to_string());
    }
    assert_eq!(log.state.item(&key("a")).unwrap().history_len(), limits::HISTORY_MAX);
    assert_eq!(log.store.len(), limits::HISTORY_MAX + 1, "and the row before the oldest");
    assert_eq!(log.history("a").last().unwrap(), "U =19");
}

#[test]
fn an_import_does_with_present_ones_what_its_policy_says() {
    use ItemOutcome::{Conflict, Created, NotTried, Skipped, Updated};
    for (policy, want, contents) in [
        (ImportPolicy::Abort, [Created, Conflict, NotTried, NotTried], [Some("n1"), Some("old"), None]),
        (ImportPolicy::Skip, [Created, Skipped, Created, Skipped], [Some("n1"), Some("old"), Some("n3")]),
        (ImportPolicy::Overwrite, [Created, Updated, Created, Updated], [Some("n4"), Some("n2"), Some("n3")]),
    ] {
        let mut log = Log::default();
        log.publish("b", "old");
        let items = [("a", "n1"), ("b", "n2"), ("c", "n3"), ("a", "n4")];
        let items = items.map(|(id, content)| (key(id), Draft::text(content))).to_vec();
        let import = Import { items, policy, clone: false, enforce: false };
        let (reply, changes) = log.apply(&command(Change::Import(import)));
        assert_eq!(report(reply), want, "{policy:?}");
        assert_eq!(["a", "b", "c"].map(|id| log.content(id)), contents.map(|c| c.map(str::to_owned)));
        let changed: Vec<_> = changes.changed.iter().map(|c| (c.key.data_id(), c.was_present)).collect();
        let all = [("a", false), ("b", true), ("c", false)];
        let touched = all.iter().zip(contents).filter(|(_, c)| c.is_some_and(|c| c != "old"));
        assert_eq!(changed, touched.map(|(c, _)| *c).collect::<Vec<_>>());
    }
}

#[test]
fn batches_refuse_unknown_namespaces_and_too_many_items() {
    let mut log = Log::default();
    let import = |namespace: &str, count: usize| {
        let item = |n| (ConfigKey::new(namespace, "G", &format!("d{n}")), Draft::text("x"));
        let items = (0..count).map(item).collect();
        Change::Import(Import { items, policy: ImportPolicy::Abort, clone: true, enforce: false })
    };
    assert_eq!(log.reply(import("dev", 1)), ConfigReply::NoNamespace);
    done(&log.reply(Change::CreateNamespace { id: "dev".into(), name: "Dev".into(), desc: "".into() }));
    assert_eq!(report(log.reply(import("dev", 1))), [ItemOutcome::Created]);
    let over = ConfigReply::Limit(ConfigLimit::Batch(limits::BATCH_MAX));
    assert_eq!(log.reply(import("", limits::BATCH_MAX + 1)), over);
    assert_eq!(report(log.reply(import("public", limits::BATCH_MAX))).len(), limits::BATCH_MAX);
    let last = Revision::new(log.index, limits::BATCH_MAX - 1);
    assert_eq!((last.index(), log.store.contains_key(&last)), (log.index, true));

    let first = ConfigKey::new("dev", "G", "d0");
    let id = log.state.item(&first).unwrap().formal().unwrap().id;
    let item = |key: &ConfigKey, id| RemoveItem { key: key.clone(), id };
    let items = vec![
        item(&first, Some(Revision(id.0 + 1))),
        item(&first, Some(id)),
        item(&first, None),
        item(&key("d0"), None),
    ];
    use ItemOutcome::{NotFound, Removed};
    assert_eq!(report(log.reply(Change::RemoveBatch { items })), [NotFound, Removed, NotFound, Removed]);
}

#[test]
fn limits_hold_where_the_proposer_asks_for_them() {
    let mut log = Log::default();
    let enforced = |key: ConfigKey, len: usize, enforce| {
        Change::Publish(Publish { key, draft: Draft::text(&"x".repeat(len)), cas: None, enforce })
    };
    let group = Scope::group("G");
    let change = CapacityChange { quota: Some(2), max_size: Some(10), ..CapacityChange::default() };
    done(&log.reply(Change::SetCapacity { scope: group.clone(), change }));
    let capacity = log.state.capacity(&group);
    assert_eq!((capacity.quota(&group), capacity.max_size(), capacity.max_aggr_count()), (2, 10, 10_000));
    let limit = ConfigReply::Limit;
    for (id, len, enforce, want) in [
        ("a", 11, true, Some(limit(ConfigLimit::ContentSize(10)))),
        ("a", 10, true, None),
        ("b", 11, false, None),
        ("c", 1, true, Some(limit(ConfigLimit::GroupQuota(2)))),
        ("a", 9, true, None),
    ] {
        let reply = log.reply(enforced(key(id), len, enforce));
        assert_eq!(want.unwrap_or_else(|| reply.clone()), reply, "{id} {len}");
    }
    let dev = ConfigKey::new("dev", "G", "a");
    done(&log.reply(enforced(dev.clone(), 102_400, true)));
    assert_eq!(log.reply(enforced(dev, 102_401, true)), limit(ConfigLimit::ContentSize(102_400)));
    assert_eq!(log.state.usage(&group), Usage { count: 2, bytes: 20 });
    assert_eq!(log.state.usage(&Scope::namespace("")), Usage { count: 2, bytes: 20 });
    assert_eq!(log.state.usage(&Scope::namespace("dev")), Usage { count: 1, bytes: 102_400 });
    assert_eq!(log.state.usage(&Scope::Cluster), Usage { count: 3, bytes: 102_420 });
    let mut draft = Draft::text("x");
    draft.schema = "s".repeat(limits::EXTRA_MAX + 1).into();
    let publish = Publish { key: key("a"), draft, cas: None, enforce: false };
    assert_eq!(log.reply(Change::Publish(publish)), limit(ConfigLimit::Extra(limits::EXTRA_MAX)));
}

#[test]
fn namespaces_are_created_changed_and_deleted() {
    let mut log = Log::default();
    let create = |id: &str| Change::CreateNamespace { id: id.into(), name: "N".into(), desc: "d".into() };
    let update = |id: &str| Change::UpdateNamespace { id: id.into(), name: "M".into(), desc: "e".into() };
    let delete = |id: &str, force| Change::DeleteNamespace { id: id.into(), force };
    let (reply, changes) = log.apply(&command(create("z")));
    assert!(changes.namespaces && matches!(reply, ConfigReply::Done { .. }));
    done(&log.reply(create("a")));
    let publish =
        Publish { key: ConfigKey::new("z", "G", "d"), draft: Draft::text("x"), cas: None, enforce: false };
    done(&log.reply(Change::Publish(publish)));
    for (change, want) in [
        (create("z"), ConfigReply::Exists),
        (create("PUBLIC"), ConfigReply::Exists),
        (update("none"), ConfigReply::NotFound),
        (update(""), ConfigReply::NotFound),
        (delete("none", true), ConfigReply::NotFound),
        (delete("public", true), ConfigReply::NotFound),
        (delete("z", false), ConfigReply::NotEmpty(1)),
    ] {
        let (reply, changes) = log.apply(&command(change));
        assert_eq!((reply, changes.is_empty()), (want, true));
    }
    done(&log.reply(update("z")));
    let list = |log: &Log| -> Vec<String> {
        let view = |n: NamespaceView<'_>| format!("{}/{}/{}/{}/{}", n.id, n.name, n.desc, n.configs, n.quota);
        log.state.namespaces().into_iter().map(view).collect()
    };
    assert_eq!(list(&log), ["public/public/Default Namespace/0/200", "z/M/e/1/200", "a/N/d/0/200"]);
    done(&log.reply(delete("z", true)));
    assert_eq!(list(&log).len(), 2);
    assert_eq!(log.state.usage(&Scope::namespace("z")).count, 1, "its configurations are left alone");
}

/// A snapshot record must hold them, whatever a front end lets through.
#[test]
fn names_that_no_snapshot_record_could_hold_are_refused() {
    let mut log = Log::default();
    let long = || "n".repeat(limits::NAMES_MAX + 1);
    let wide = |data_id: &str| ConfigKey::new("", "G", data_id);
    let draft = || Draft::text("x");
    done(&log.reply(Change::CreateNamespace { id: "z".into(), name: "N".into(), desc: "".into() }));
    let before = log.state.clone();
    let rule = Arc::new(GrayRule::tag("t").unwrap());
    for change in [
        Change::Publish(Publish { key: wide(&long()), draft: draft(), cas: None, enforce: false }),
        Change::PublishGray(PublishGray {
            key: wide(&long()),
            name: "g".into(),
            rule,
            draft: draft(),
            cas: None,
        }),
        Change::SetCapacity { scope: Scope::group(&long()), change: CapacityChange::default() },
        Change::SetCapacity { scope: Scope::namespace(&long()), change: CapacityChange::default() },
        Change::CreateNamespace { id: "y".into(), name: "N".into(), desc: long().into() },
        Change::CreateNamespace { id: "y".into(), name: long().into(), desc: "".into() },
        Change::UpdateNamespace { id: "z".into(), name: "N".into(), desc: long().into() },
    ] {
        assert_eq!(log.reply(change), ConfigReply::Limit(ConfigLimit::Names(limits::NAMES_MAX)));
        assert_eq!(log.state, before, "a refusal changes nothing");
    }
    let items = vec![(wide(&long()), draft()), (wide("short"), draft())];
    let import = Import { items, policy: ImportPolicy::Skip, clone: false, enforce: false };
    use ItemOutcome::{Created, OverLimit};
    assert_eq!(report(log.reply(Change::Import(import))), [OverLimit, Created]);
    let just = "n".repeat(limits::NAMES_MAX - "publicG".len());
    done(&log.reply(Change::Publish(Publish {
        key: wide(&just),
        draft: draft(),
        cas: None,
        enforce: false,
    })));
}
