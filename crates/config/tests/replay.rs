//! Bytes: a row's golden form, arbitrary input, and that members stay alike whatever way the commands reached them.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::collections::BTreeSet;
use std::sync::Arc;

use common::{Log, key};
use dyad_config::record::{CommandRecord, ReplyRecord, StatePart};
use dyad_config::*;
use dyad_types::{ConfigKey, Md5};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use prost::Message;

fn sample_row() -> ContentRow {
    ContentRow {
        revision: Revision::new(3, 1),
        key: ConfigKey::new("", "G", "a"),
        op: Op::Update,
        gray: Some(("beta".into(), Some(Arc::new(GrayRule::beta("1.1.1.1").unwrap())))),
        content: Some(Content::new("k=v")),
        kind: ConfigType::Yaml,
        extra: Some(Arc::new(Extra {
            app_name: "app".into(),
            tags: ["t".into()].into(),
            desc: "d".into(),
            used_for: "u".into(),
            effect: "e".into(),
            schema: "s".into(),
            encrypted_data_key: "k".into(),
        })),
        cause: Cause::Rollback(Revision(9)),
        user: "ann".into(),
        ip: "10.0.0.9".into(),
        reason: "why".into(),
        created_ms: 5,
        modified_ms: 6,
    }
}

const GOLDEN_ROW: &str = concat!(
    "01088118120e0a067075626c69631201471a0161180122220a04626574611204626574611a05312e302e302207",
    "312e312e312e3128feffffff0f2a036b3d7632105a8a83c40ada249c61f6b20210c9448c380642170a03617070",
    "1201741a01642201752a01653201733a016b480450095a03616e6e620831302e302e302e396a03776879700578",
    "06c7ec27ff",
);

#[test]
fn a_row_has_its_golden_bytes_and_damage_is_found() {
    let row = sample_row();
    let bytes = row.encode();
    let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(hex, GOLDEN_ROW, "a stored format changed");
    assert_eq!(ContentRow::decode(row.revision, &bytes), Ok(row.clone()));
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(ContentRow::decode(row.revision, &damaged).is_err(), "byte {at}");
        assert!(ContentRow::decode(row.revision, &bytes[..at]).is_err(), "cut at {at}");
    }
    let error = ContentRow::decode(Revision(1), &bytes).unwrap_err();
    assert_eq!(error.0, "content row 1: it is the row of 3073");
}

fn text() -> impl Strategy<Value = Box<str>> {
    "[a-c]{0,2}".prop_map(String::into_boxed_str)
}

fn config_key() -> impl Strategy<Value = ConfigKey> {
    ("|dev", "G|H", "[ab]").prop_map(|(namespace, group, id)| ConfigKey::new(&namespace, &group, &id))
}

fn draft() -> impl Strategy<Value = Draft> {
    let content = prop_oneof![4 => "[a-c]{1,2}", 1 => "[xy]".prop_map(|c| c.repeat(5_000))];
    let texts = (option::of(text()), option::of(vec(text(), 0..3)), text(), text());
    (content, 1u32..8, texts).prop_map(|(content, kind, (app_name, tags, desc, schema))| Draft {
        kind: [ConfigType::Json, ConfigType::Text, ConfigType::Unset][kind as usize % 3],
        app_name,
        tags: tags.map(Vec::into_boxed_slice),
        desc,
        schema,
        ..Draft::text(&content)
    })
}

fn rule() -> impl Strategy<Value = Arc<GrayRule>> {
    let label = ("[ab]=[xy]", -1i32..2).prop_map(|(e, p)| GrayRule::parse("tagv2", "1.1.0", &e, p).unwrap());
    let beta = "[12]".prop_map(|ip| GrayRule::beta(&ip).unwrap());
    prop_oneof![label, beta].prop_map(Arc::new)
}

fn change() -> impl Strategy<Value = Change> {
    let cas = option::of("[a-c]{1,2}".prop_map(|text| Md5::of(text.as_bytes())));
    let publish = (config_key(), draft(), cas.clone(), any::<bool>())
        .prop_map(|(key, draft, cas, enforce)| Change::Publish(Publish { key, draft, cas, enforce }));
    let gray = (config_key(), "[g-i]|a b", rule(), draft(), cas).prop_map(|(key, name, rule, draft, cas)| {
        Change::PublishGray(PublishGray { key, name: name.into(), rule, draft, cas })
    });
    let remove = (config_key(), option::of("[g-i]"))
        .prop_map(|(key, gray)| Change::Remove { key, gray: gray.map(String::into_boxed_str) });
    let remove_item = (config_key(), option::of((0u64..40).prop_map(|n| Revision(n * 1024))))
        .prop_map(|(key, id)| RemoveItem { key, id });
    let policy =
        prop_oneof![Just(ImportPolicy::Abort), Just(ImportPolicy::Skip), Just(ImportPolicy::Overwrite)];
    let import = (vec((config_key(), draft()), 0..4), policy, any::<bool>(), any::<bool>())
        .prop_map(|(items, policy, clone, enforce)| Change::Import(Import { items, policy, clone, enforce }));
    let scope = prop_oneof![Just(Scope::Cluster), Just(Scope::namespace("dev")), Just(Scope::group("G"))];
    let capacity = (scope, option::of(0u32..4), option::of(0u32..3)).prop_map(|(scope, quota, max_size)| {
        Change::SetCapacity { scope, change: CapacityChange { quota, max_size, ..CapacityChange::default() } }
    });
    let namespace = ("dev|test|", text(), 0..3u8, any::<bool>()).prop_map(|(id, name, what, force)| {
        let (id, desc) = (id.into_boxed_str(), name.clone());
        match what {
            0 => Change::UpdateNamespace { id, name, desc },
            1 => Change::DeleteNamespace { id, force },
            _ => Change::CreateNamespace { id, name, desc },
        }
    });
    let prune = (0u64..40, 0u32..4, option::of(config_key())).prop_map(|(until, keep, from)| {
        Change::Prune(Prune { until_ms: until * common::STEP_MS, keep, from })
    });
    let rollback = (config_key(), 0u64..40, draft()).prop_map(|(key, to, draft)| Change::Rollback {
        key,
        to: Revision(to * 1024),
        draft,
    });
    prop_oneof![
        8 => publish,
        4 => gray,
        4 => remove,
        1 => vec(remove_item, 0..4).prop_map(|items| Change::RemoveBatch { items }),
        2 => import,
        1 => capacity,
        2 => namespace,
        2 => prune,
        2 => rollback,
    ]
}

fn command() -> impl Strategy<Value = ConfigCommand> {
    let source = (text(), text(), text()).prop_map(|(user, ip, reason)| Source { user, ip, reason });
    (source, change()).prop_map(|(source, change)| ConfigCommand { source, change })
}

fn parts(state: &ConfigState) -> Vec<Vec<u8>> {
    state.snapshot().map(|part| part.encode_to_vec()).collect()
}

fn restored(parts: &[Vec<u8>]) -> ConfigState {
    let mut state = ConfigState::default();
    for part in parts {
        state.restore(StatePart::decode(&**part).unwrap()).unwrap();
    }
    state
}

/// What must hold of every state and its store.
fn check(log: &Log) {
    let relied: BTreeSet<Revision> = log.state.revisions().collect();
    assert_eq!(relied, log.store.keys().copied().collect(), "rows: what is relied on is what is there");
    let mut cluster = Usage::default();
    for (key, item) in log.state.items() {
        let grays = item.grays().iter().map(|gray| (&*gray.name, &gray.release));
        for (name, release) in item.formal().map(|release| ("", release)).into_iter().chain(grays) {
            let row = log.row(release.revision);
            let content = row.content.expect("a release has a content");
            assert_eq!(
                (&row.key, content.md5(), content.text().len()),
                (key, release.md5, release.len as usize)
            );
            assert_eq!(row.gray.map(|(name, _)| name).unwrap_or_default(), name.into());
            if let Some(inline) = &release.inline {
                assert_eq!(inline, content.text());
            }
        }
        if let Some(release) = item.formal() {
            cluster = Usage { count: cluster.count + 1, bytes: cluster.bytes + u64::from(release.len) };
        }
        for entry in item.history() {
            let row = log.row(entry.before.unwrap_or(entry.revision));
            assert!(row.content.is_some(), "a version shows a content");
            assert_eq!(entry.before.is_none(), entry.op == Op::Insert);
            assert_eq!(row.gray.map(|(name, _)| name).as_deref(), entry.gray);
        }
    }
    assert_eq!(log.state.usage(&Scope::Cluster), cluster);
}

proptest! {
    #[test]
    fn a_command_survives_its_bytes(command in command()) {
        let bytes = CommandRecord::from(&command).encode_to_vec();
        let back = ConfigCommand::try_from(CommandRecord::decode(&*bytes).unwrap()).unwrap();
        prop_assert_eq!(back, command);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..60), command in command(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let _ = CommandRecord::decode(&*bytes).map(ConfigCommand::try_from);
        let _ = ReplyRecord::decode(&*bytes).map(ConfigReply::try_from);
        let _ = ContentRow::decode(Revision(1), &bytes);
        let _ = StatePart::decode(&*bytes).map(|part| ConfigState::default().restore(part));
        let mut log = Log::default();
        log.apply(&command);
        let damage = |mut bytes: Vec<u8>| {
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            bytes
        };
        let _ = CommandRecord::decode(&*damage(CommandRecord::from(&command).encode_to_vec())).map(ConfigCommand::try_from);
        for part in parts(&log.state) {
            let mut state = ConfigState::default();
            let restored = StatePart::decode(&*damage(part)).map(|part| state.restore(part));
            if matches!(restored, Ok(Ok(()))) {
                log.state = state;
                log.state.apply(&command, dyad_types::Stamp { now_ms: u64::MAX, index: u64::MAX });
            }
        }
    }

    /// The same commands give the same state, replies and rows, also when a member got them through the codec, applied some
    /// again after a restart, and began in the middle from a snapshot.
    #[test]
    fn the_same_commands_give_the_same_state(commands in vec(command(), 1..40), cut in any::<prop::sample::Index>()) {
        let mut direct = Log::default();
        let mut other = Log::default();
        let cut = cut.index(commands.len());
        for (n, command) in commands.iter().enumerate() {
            if n == cut {
                other.state = restored(&parts(&other.state));
                prop_assert_eq!(&other.state, &direct.state);
            }
            let (reply, changes) = direct.apply(command);
            let decoded = ConfigCommand::try_from(CommandRecord::decode(&*CommandRecord::from(command).encode_to_vec()).unwrap()).unwrap();
            let (again, again_changes) = other.apply(&decoded);
            prop_assert_eq!(ConfigReply::try_from(ReplyRecord::from(&reply)).unwrap(), again);
            prop_assert_eq!(changes, again_changes);
            check(&direct);
        }
        prop_assert_eq!(parts(&direct.state), parts(&other.state));
        prop_assert_eq!(direct.store, other.store);
    }
}

/// The largest things that one configuration can hold stay below the 256 KiB of a snapshot record.
#[test]
fn every_part_of_a_snapshot_is_bounded() {
    let mut log = Log::default();
    let wide = |chars: usize| "中".repeat(chars).into_boxed_str();
    let mut draft = Draft::text(&"x".repeat(limits::INLINE_MAX));
    draft.schema = wide(limits::EXTRA_MAX / 3);
    let publish = Publish { key: key("a"), draft: draft.clone(), cas: None, enforce: false };
    for n in 0..limits::HISTORY_MAX {
        let rule = GrayRule::parse("tag", "1.0.0", &"r".repeat(limits::GRAY_EXPRESSION_MAX), 1).unwrap();
        let name = format!("{n:0width$}", width = limits::GRAY_NAME_MAX);
        let gray = PublishGray {
            key: key("a"),
            name: name.as_str().into(),
            rule: Arc::new(rule),
            draft: draft.clone(),
            cas: None,
        };
        log.reply(Change::PublishGray(gray));
        if n < limits::HISTORY_MAX - limits::GRAYS_MAX {
            log.reply(Change::Remove { key: key("a"), gray: Some(name.into()) });
        }
    }
    log.reply(Change::Publish(publish));
    let parts = parts(&log.state);
    assert!(parts.len() > limits::GRAYS_MAX);
    assert!(parts.iter().all(|part| part.len() < 200 * 1024), "{:?}", parts.iter().map(Vec::len).max());
    assert_eq!(restored(&parts), log.state);
}
