//! Tests of the views: selection, protection, and the JSON as recorded answers have it.

use dyad_types::InstanceIdKind;

use super::*;
use crate::cp::Selector;

fn host(ip: &str, healthy: bool) -> ViewInstance {
    let mut instance = Instance::new(ip, 8080);
    instance.healthy = healthy;
    ViewInstance { instance, lifetime: Lifetime::Ephemeral }
}

fn view_of(hosts: Vec<ViewInstance>, threshold: Option<f32>) -> ServiceView {
    let record =
        threshold.map(|t| Arc::new(ServiceRecord { protect_threshold: t, ..ServiceRecord::default() }));
    ServiceView::new(ServiceKey::new("", "", "svc.a"), 1, hosts, record, 10_000)
}

fn body(view: &ServiceView, query: &ListQuery<'_>) -> String {
    String::from_utf8(view.list(query).stamped(77)).unwrap()
}

#[test]
fn a_list_has_nacos_fields_in_nacos_order() {
    let mut other = host("10.0.0.2", true);
    other.instance.cluster = "c1".into();
    other.instance.weight = 2.5;
    other.instance.metadata = [("k", "v\"w"), ("preserved.heart.beat.timeout", "3000")].into_iter().collect();
    let view = view_of(vec![host("10.0.0.1", false), other], None);
    let want = concat!(
        r#"{"name":"DEFAULT_GROUP@@svc.a","groupName":"DEFAULT_GROUP","clusters":"","cacheMillis":10000,"hosts":["#,
        r#"{"instanceId":"10.0.0.1#8080#DEFAULT#DEFAULT_GROUP@@svc.a","ip":"10.0.0.1","port":8080,"weight":1.0,"#,
        r#""healthy":false,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","#,
        r#""serviceName":"DEFAULT_GROUP@@svc.a","metadata":{},"instanceHeartBeatInterval":5000,"#,
        r#""instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,"instanceIdGenerator":"simple"},"#,
        r#"{"instanceId":"10.0.0.2#8080#c1#DEFAULT_GROUP@@svc.a","ip":"10.0.0.2","port":8080,"weight":2.5,"#,
        r#""healthy":true,"enabled":true,"ephemeral":true,"clusterName":"c1","#,
        r#""serviceName":"DEFAULT_GROUP@@svc.a","metadata":{"k":"v\"w","preserved.heart.beat.timeout":"3000"},"#,
        r#""instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":3000,"ipDeleteTimeout":30000}],"#,
        r#""lastRefTime":77,"checksum":"","allIPs":false,"reachProtectionThreshold":false,"valid":true}"#,
    );
    assert_eq!(body(&view, &ListQuery::default()), want);
}

#[test]
fn the_id_and_its_generator_are_shown_by_kind_and_metadata() {
    let generator = |value| [(KEY, value)].into_iter().collect();
    const KEY: &str = dyad_types::instance::KEY_ID_GENERATOR;
    let cases = [
        (InstanceIdKind::Simple, Default::default(), true, Some("\"simple\"")),
        (InstanceIdKind::Simple, [("a", "b")].into_iter().collect(), true, None),
        (InstanceIdKind::None, Default::default(), false, Some("\"simple\"")),
        (InstanceIdKind::Beat, Default::default(), true, None),
        (
            InstanceIdKind::Custom("7#DEFAULT#g@@s".to_owned().into()),
            generator("snowflake"),
            true,
            Some("\"snowflake\""),
        ),
    ];
    for (kind, metadata, shown, want) in cases {
        let mut one = host("10.0.0.1", true);
        (one.instance.id, one.instance.metadata) = (kind.clone(), metadata);
        let view = view_of(vec![one], None);
        let text = body(&view, &ListQuery::default());
        assert_eq!(text.contains("\"instanceId\":"), shown, "{kind:?}");
        let got =
            text.split_once("\"instanceIdGenerator\":").map(|(_, rest)| rest.split('}').next().unwrap());
        assert_eq!(got, want, "{kind:?}");
        let detail = view.instance_json(&view.instances()[0]);
        assert_eq!(std::str::from_utf8(&detail).unwrap().contains("\"instanceId\":null"), !shown);
    }
}

#[test]
fn protection_needs_a_record_and_compares_with_at_most() {
    // (threshold, healthy flags, healthy only) -> (hosts, protected)
    type Case = (Option<f32>, &'static [bool], bool, (usize, bool));
    let cases: [Case; 9] = [
        (None, &[false, false], false, (2, false)),
        (Some(0.0), &[false, false], false, (2, true)),
        (Some(0.0), &[false, true], false, (2, false)),
        (Some(0.5), &[false, true], false, (2, true)),
        (Some(0.8), &[true, true], false, (2, false)),
        (Some(0.8), &[true, false, false], true, (1, false)),
        (Some(0.8), &[false, false], true, (0, false)),
        (Some(-1.0), &[false], false, (1, true)),
        (Some(2.0), &[true], true, (1, true)),
    ];
    for (threshold, flags, healthy_only, want) in cases {
        let hosts = flags.iter().enumerate().map(|(n, &h)| host(&format!("10.0.0.{n}"), h)).collect();
        let view = view_of(hosts, threshold);
        let query = ListQuery { clusters: "", healthy_only };
        let selection = view.select(&query);
        assert_eq!((selection.hosts.len(), selection.protected), want, "{threshold:?} {flags:?}");
        if want.1 {
            assert!(!body(&view, &query).contains("\"healthy\":false"));
            assert!(body(&view, &query).contains("\"reachProtectionThreshold\":true"));
        }
    }
}

#[test]
fn clusters_and_disabled_instances_are_filtered() {
    let mut hosts = vec![host("10.0.0.1", true), host("10.0.0.2", true), host("10.0.0.3", true)];
    hosts[1].instance.cluster = "c1".into();
    hosts[2].instance.enabled = false;
    let view = view_of(hosts, None);
    for (clusters, want) in [("", 2), ("c1", 1), ("c1,DEFAULT", 2), ("zzz", 0), (" ", 2), ("c1, DEFAULT", 1)]
    {
        let query = ListQuery { clusters, healthy_only: false };
        assert_eq!(view.select(&query).hosts.len(), want, "{clusters:?}");
        assert!(body(&view, &query).contains(&format!("\"clusters\":\"{clusters}\"")));
    }
}

#[test]
fn details_are_those_of_nacos() {
    let view = view_of(vec![host("10.0.0.1", true)], Some(0.7));
    let one = view.find("10.0.0.1", 8080, "DEFAULT").unwrap();
    assert_eq!(
        view.instance_json(one),
        r#"{"service":"DEFAULT_GROUP@@svc.a","ip":"10.0.0.1","port":8080,"clusterName":"DEFAULT","weight":1.0,"healthy":true,"instanceId":"10.0.0.1#8080#DEFAULT#DEFAULT_GROUP@@svc.a","metadata":{}}"#
    );
    for missing in [("10.0.0.1", 8081, "DEFAULT"), ("10.0.0.1", 8080, "c1"), ("10.0.0.9", 8080, "DEFAULT")] {
        assert_eq!(view.find(missing.0, missing.1, missing.2), None);
    }
    assert_eq!(
        view.service_json(),
        r#"{"namespaceId":"public","groupName":"DEFAULT_GROUP","name":"svc.a","protectThreshold":0.7,"metadata":{},"selector":{"type":"none","contextType":"NONE"},"clusters":[{"name":"DEFAULT","healthChecker":{"type":"TCP"},"metadata":{}}]}"#
    );
    let selector = Selector { kind: "label".into(), expression: "CONSUMER.label.A=PROVIDER.label.A".into() };
    let record = ServiceRecord { selector, ..ServiceRecord::default() };
    let view = ServiceView::new(view.key().clone(), 1, vec![], Some(Arc::new(record)), 10_000);
    let json = String::from_utf8(view.service_json().to_vec()).unwrap();
    assert!(json.contains(
        r#""protectThreshold":0.0,"metadata":{},"selector":{"type":"label","contextType":"CMDB","expression":"CONSUMER.label.A=PROVIDER.label.A"},"clusters":[]"#
    ));
}
