//! Tests of the limits: instances of a service, and bytes of its list.

use super::*;

#[test]
fn a_full_service_has_room_for_those_who_are_in_it_only() {
    let bench = Bench::new();
    let instance = |n: usize| Instance::new(&format!("10.0.{}.{}", n / 250, n % 250), 80);
    for n in 0..INSTANCES_PER_SERVICE_MAX {
        bench.beat("s", &instance(n), 0);
    }
    let room = |n| bench.registry.room(&beat_key("s", &instance(n)), &[instance(n)]);
    assert_eq!(room(0), Ok(()));
    assert_eq!(room(20_000), Err(Limit::InstancesPerService(INSTANCES_PER_SERVICE_MAX)));
    assert_eq!(bench.registry.room(&beat_key("t", &instance(0)), &[instance(0)]), Ok(()));
}

#[test]
fn a_list_stays_as_small_as_clients_take() {
    let mut bench = Bench::new();
    let large = |n: usize, value: &str| {
        let metadata = [("k", value)].into_iter().collect();
        Instance { metadata, ..Instance::new(&format!("10.0.{}.{}", n / 250, n % 250), 80) }
    };
    let value = "\u{1}\"中".repeat(300);
    let mut held = 0;
    while bench.registry.room(&beat_key("s", &large(held, "")), &[large(held, &value)]) == Ok(()) {
        if held % 2 == 0 {
            bench.beat("s", &large(held, &value), 0);
        } else {
            bench.persistent("s", &large(held, &value), 0);
        }
        held += 1;
    }
    let list = bench.registry.view(&key("s")).unwrap().list(&ListQuery::default());
    let bytes = list.head.len() + list.tail.len();
    assert!(bytes <= LIST_BYTES_MAX && bytes > LIST_BYTES_MAX * 8 / 10, "{bytes}");
    let full = Err(Limit::List(LIST_BYTES_MAX));
    assert_eq!(bench.registry.room_in_list(&key("s"), &large(held, &value)), full);
    let target = OverrideKey::of(&large(0, ""));
    assert_eq!(bench.registry.room_for_override(&key("s"), &target, &large(0, &value).metadata), full);
    assert_eq!(
        bench.registry.room(&beat_key("s", &large(0, "")), &[large(0, &value)]),
        Ok(()),
        "it is there"
    );
    assert_eq!(bench.registry.room_in_list(&key("s"), &large(1, &value)), Ok(()), "it is there");
    for n in 0..held {
        bench.gone("s", &large(n, ""), 0);
    }
    assert_eq!(bench.registry.room_in_list(&key("s"), &large(held, &value)), Ok(()), "half has gone");
}
