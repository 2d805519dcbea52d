//! Searches: patterns, filters, order and pages.

mod common;

use std::collections::BTreeSet;

use common::Log;
use dyad_config::*;
use dyad_types::ConfigKey;

fn everything(_: &ConfigKey) -> bool {
    true
}

/// Seven configurations; the first has the largest key, so that the order of creation is not the order of keys.
fn seven() -> Log {
    let mut log = Log::default();
    let large = "needle".repeat(1_000);
    for (namespace, group, data_id, kind, app, tag, content) in [
        ("", "G2", "z.json", ConfigType::Json, "shop", "t1", "needle"),
        ("", "G1", "a.yaml", ConfigType::Yaml, "shop", "t2", "hay"),
        ("", "G1", "b.yaml", ConfigType::Yaml, "", "", "hay"),
        ("dev", "G1", "a.yaml", ConfigType::Yaml, "", "t1", "needle"),
        ("", "G1", "big", ConfigType::Text, "", "", &*large),
        ("", "G1", "big2", ConfigType::Text, "", "", &*large.replace("needle", "straws")),
        ("", "G1", "gone", ConfigType::Text, "shop", "t1", "needle"),
    ] {
        let mut draft = Draft::text(content);
        draft.kind = kind;
        draft.app_name = Some(app.into());
        draft.tags = Some(tag.split(',').filter(|t| !t.is_empty()).map(Box::from).collect());
        let key = ConfigKey::new(namespace, group, data_id);
        log.reply(Change::Publish(Publish { key, draft, cas: None, enforce: false }));
    }
    log.reply(Change::Remove { key: ConfigKey::new("", "G1", "gone"), gray: None });
    log
}

#[test]
fn a_search_finds_what_all_filters_let_through_in_the_order_of_creation() {
    let log = seven();
    let none = Filter::default();
    let blur = |text: &str| Some(Pattern::blur(text));
    let exact = |text: &str| Some(Pattern::exact(text));
    let public = Filter { namespace: Some("".into()), ..none.clone() };
    let table: Vec<(Filter, &[&str])> = vec![
        (none.clone(), &["z.json", "a.yaml", "b.yaml", "dev:a.yaml", "big", "big2"]),
        (public.clone(), &["z.json", "a.yaml", "b.yaml", "big", "big2"]),
        (Filter { namespace: Some("dev".into()), ..none.clone() }, &["dev:a.yaml"]),
        (Filter { data_id: exact("a.yaml"), ..none.clone() }, &["a.yaml", "dev:a.yaml"]),
        (Filter { data_id: exact("a.yaml"), group: exact("G1"), ..public.clone() }, &["a.yaml"]),
        (Filter { data_id: exact("a.yaml"), group: exact("G2"), ..public.clone() }, &[]),
        (Filter { group: exact("G1"), ..public.clone() }, &["a.yaml", "b.yaml", "big", "big2"]),
        (Filter { data_id: blur("*.yaml"), ..public.clone() }, &["a.yaml", "b.yaml"]),
        (Filter { group: blur("*2"), ..public.clone() }, &["z.json"]),
        (Filter { app_name: exact("shop"), ..public.clone() }, &["z.json", "a.yaml"]),
        (
            Filter { tags: vec![Pattern::exact("t1"), Pattern::exact("t2")], ..none.clone() },
            &["z.json", "a.yaml", "dev:a.yaml"],
        ),
        (Filter { tags: vec![Pattern::blur("*2")], ..none.clone() }, &["a.yaml"]),
        (
            Filter { kinds: vec![ConfigType::Json, ConfigType::Text], ..none.clone() },
            &["z.json", "big", "big2"],
        ),
        (Filter { content: blur("*needle*"), ..none.clone() }, &["z.json", "dev:a.yaml", "big"]),
        (Filter { content: blur("*needle*"), kinds: vec![ConfigType::Json], ..none }, &["z.json"]),
    ];
    for (filter, want) in table {
        let mut asked = 0;
        let mut work = Work::new(&|| false);
        let stored = |pattern: &Pattern, release: &Release, work: &mut Work<'_>| {
            asked += 1;
            let row = log.row(release.revision);
            pattern.matches(row.content.unwrap().text(), work)
        };
        let found = log
            .state
            .find(&filter, &everything, PageRequest { number: 1, size: 100 }, &mut work, stored)
            .unwrap();
        let name = |key: &ConfigKey| match key.is_public() {
            true => key.data_id().to_owned(),
            false => format!("{}:{}", key.namespace(), key.data_id()),
        };
        let names: Vec<String> = found.page.iter().map(|(key, _)| name(key)).collect();
        assert_eq!(
            (names.as_slice(), found.total),
            (want.iter().map(|s| s.to_string()).collect::<Vec<_>>().as_slice(), want.len()),
            "{filter:?}"
        );
        let stored = filter.content.is_some() && filter.kinds.is_empty();
        assert_eq!(asked, if stored { 2 } else { 0 }, "only contents outside of memory are asked for");
    }
}

#[test]
fn pages_together_are_the_whole_and_later_ones_are_empty() {
    let mut log = Log::default();
    for n in 0..23 {
        log.publish(&format!("d{:02}", n * 7 % 23), "x");
    }
    let page = |number, size| {
        let mut work = Work::new(&|| false);
        let found = log
            .state
            .find(&Filter::default(), &everything, PageRequest { number, size }, &mut work, |_, _, _| {
                Ok::<bool, Stopped>(true)
            })
            .unwrap();
        assert_eq!(found.total, 23);
        found.page.into_iter().map(|(key, _)| key.data_id().to_owned()).collect::<Vec<_>>()
    };
    let whole = page(1, 100);
    assert_eq!(whole, (0..23).map(|n| format!("d{:02}", n * 7 % 23)).collect::<Vec<_>>());
    for size in [1, 5, 22, 23] {
        let joined: Vec<String> = (1..=23).flat_map(|number| page(number, size)).collect();
        assert_eq!(joined, whole, "pages of {size}");
    }
    assert_eq!((page(0, 0), page(usize::MAX, usize::MAX)), (whole[..1].to_vec(), Vec::new()));
}

#[test]
fn what_is_not_seen_is_not_counted() {
    let log = seven();
    let mut work = Work::new(&|| false);
    let seen = |key: &ConfigKey| key.group() != "G1";
    let stored = |_: &Pattern, _: &Release, _: &mut Work<'_>| Ok::<_, Stopped>(true);
    let asked = PageRequest { number: 1, size: 10 };
    let found = log.state.find(&Filter::default(), &seen, asked, &mut work, stored).unwrap();
    assert_eq!((found.total, found.page.len()), (1, 1));
}

#[test]
fn ids_find_their_configurations() {
    let log = seven();
    let id = |namespace: &str| {
        log.state.item(&ConfigKey::new(namespace, "G1", "a.yaml")).unwrap().formal().unwrap().id
    };
    let ids = BTreeSet::from([id(""), id("dev"), Revision(5)]);
    let found: Vec<&str> = log.state.by_ids(&ids).into_iter().map(|(key, _)| key.namespace()).collect();
    assert_eq!(found, ["dev", "public"]);
}

#[test]
fn a_search_that_is_told_to_stop_ends_among_the_configurations() {
    let mut log = Log::default();
    for n in 0..100 {
        log.publish(&format!("d{n}"), &"a".repeat(3_000));
    }
    let filter = Filter { content: Some(Pattern::blur("*z*")), ..Filter::default() };
    let mut work = Work::new(&|| true);
    let stored = |_: &Pattern, _: &Release, _: &mut Work<'_>| Ok::<_, Stopped>(true);
    assert_eq!(
        log.state.find(&filter, &everything, PageRequest { number: 1, size: 10 }, &mut work, stored),
        Err(Stopped)
    );
    assert!(work.steps() < 100_000, "{} of 300,000 bytes", work.steps());
}
