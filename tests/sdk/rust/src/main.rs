//! The Rust SDK: gRPC.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use nacos_sdk::api::config::{ConfigChangeListener, ConfigResponse, ConfigService, ConfigServiceBuilder};
use nacos_sdk::api::naming::{
    NamingChangeEvent, NamingEventListener, NamingService, NamingServiceBuilder, ServiceInstance,
};
use nacos_sdk::api::props::ClientProps;
use serde_json::{Value, json};

const GROUP: &str = "SDK_GROUP";
type Checked = Result<String, String>;

static SERVICE: LazyLock<String> = LazyLock::new(|| {
    format!("sdk-rust-{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis())
});

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn group() -> Option<String> {
    Some(GROUP.to_owned())
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn say(line: &Value) {
    println!("{line}");
}

/// Asks the runner and waits until it has done that.
fn ask(line: &Value) {
    say(line);
    let mut answer = String::new();
    let _ = std::io::stdin().read_line(&mut answer);
}

async fn step(name: &str, check: impl Future<Output = Checked>) {
    if variable("SDK_SKIP").split(',').any(|one| one == name) {
        return;
    }
    let outcome = check.await;
    let passed = outcome.is_ok();
    let (Ok(detail) | Err(detail)) = outcome;
    say(&json!({"step": name, "ok": passed, "detail": detail}));
}

/// How long it took.
async fn until(seconds: u64, mut holds: impl AsyncFnMut() -> bool) -> Checked {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(seconds) {
        if holds().await {
            return Ok(format!("{} ms", began.elapsed().as_millis()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Err(format!("not within {seconds} s"))
}

fn check(holds: bool, otherwise: impl std::fmt::Debug) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("{otherwise:?}")) }
}

fn properties(namespace: &str) -> ClientProps {
    ClientProps::new()
        .server_addr(variable("SDK_SERVERS"))
        .namespace(namespace)
        .app_name("sdk-driver")
        .load_cache_at_start(false)
}

async fn naming(namespace: &str) -> Result<NamingService, String> {
    NamingServiceBuilder::new(properties(namespace)).build().await.map_err(text)
}

async fn configuration(namespace: &str) -> Result<ConfigService, String> {
    ConfigServiceBuilder::new(properties(namespace)).build().await.map_err(text)
}

fn instance(ip: &str, port: i32, ephemeral: bool, value: &str) -> ServiceInstance {
    ServiceInstance {
        ip: ip.to_owned(),
        port,
        ephemeral,
        cluster_name: Some("DEFAULT".to_owned()),
        metadata: [("v".to_owned(), value.to_owned())].into(),
        ..ServiceInstance::default()
    }
}

async fn register(of: &NamingService, service: &str, ip: &str, port: i32, value: &str) -> Result<(), String> {
    of.register_instance(service.to_owned(), group(), instance(ip, port, true, value)).await.map_err(text)
}

async fn deregister(of: &NamingService, service: &str, ip: &str, port: i32) -> Result<(), String> {
    of.deregister_instance(service.to_owned(), group(), instance(ip, port, true, "1")).await.map_err(text)
}

async fn list(of: &NamingService, service: &str, clusters: &[&str]) -> Vec<ServiceInstance> {
    let clusters = clusters.iter().map(|&one| one.to_owned()).collect();
    of.get_all_instances(service.to_owned(), group(), clusters, false).await.unwrap_or_default()
}

fn values(instances: &[ServiceInstance]) -> BTreeMap<String, String> {
    let value = |one: &ServiceInstance| one.metadata.get("v").cloned().unwrap_or_default();
    instances.iter().map(|one| (format!("{}:{}", one.ip, one.port), value(one))).collect()
}

fn keys(found: &BTreeMap<String, String>, expected: &[&str]) -> bool {
    found.keys().map(String::as_str).collect::<BTreeSet<_>>() == expected.iter().copied().collect()
}

/// A subscription: the lists of its callbacks so far.
#[derive(Default)]
struct Watch(Mutex<Vec<Vec<ServiceInstance>>>);

impl NamingEventListener for Watch {
    fn event(&self, event: Arc<NamingChangeEvent>) {
        self.lists().push(event.instances.clone().unwrap_or_default());
    }
}

impl Watch {
    fn lists(&self) -> std::sync::MutexGuard<'_, Vec<Vec<ServiceInstance>>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn last(&self) -> BTreeMap<String, String> {
        self.lists().last().map(|list| values(list)).unwrap_or_default()
    }

    async fn of(client: &NamingService, service: &str) -> Result<Arc<Watch>, String> {
        let watch = Arc::new(Watch::default());
        client.subscribe(service.to_owned(), group(), vec![], watch.clone()).await.map_err(text)?;
        Ok(watch)
    }
}

async fn standalone() -> Result<(), String> {
    let (mine, other) = (naming("").await?, naming("").await?);
    let service = SERVICE.as_str();
    step("connect", async { Ok("built".to_owned()) }).await;
    step("register", async {
        register(&mine, service, "10.5.0.1", 8001, "1").await?;
        Ok("ok".to_owned())
    })
    .await;
    step("query", async {
        let took = until(5, async || list(&other, service, &[]).await.len() == 1).await?;
        let found = list(&other, service, &[]).await;
        let name = format!("{GROUP}@@{service}");
        check(keys(&values(&found), &["10.5.0.1:8001"]) && found[0].healthy, &found)?;
        check(found[0].service_name.as_deref() == Some(&name), &found)?;
        Ok(took)
    })
    .await;
    step("service-list", async {
        let (names, count) = mine.get_service_list(1, 1000, group()).await.map_err(text)?;
        check(names.iter().any(|name| name == service), names)?;
        Ok(format!("count {count}"))
    })
    .await;
    let watch = Watch::of(&other, service).await?;
    step("subscribe", until(10, async || keys(&watch.last(), &["10.5.0.1:8001"]))).await;
    step("push", async {
        register(&other, service, "10.5.0.2", 8002, "1").await?;
        until(15, async || keys(&watch.last(), &["10.5.0.1:8001", "10.5.0.2:8002"])).await
    })
    .await;
    step("update", async {
        register(&mine, service, "10.5.0.1", 8001, "2").await?;
        until(15, async || watch.last().get("10.5.0.1:8001").is_some_and(|v| v == "2")).await
    })
    .await;
    step("deregister", async {
        deregister(&other, service, "10.5.0.2", 8002).await?;
        until(15, async || keys(&watch.last(), &["10.5.0.1:8001"])).await
    })
    .await;
    step("client-death", async {
        ask(&json!({"ask": "hold", "service": service, "ip": "10.5.0.3", "port": 8003}));
        until(30, async || watch.last().contains_key("10.5.0.3:8003")).await?;
        ask(&json!({"ask": "kill-held"}));
        until(60, async || keys(&watch.last(), &["10.5.0.1:8001"])).await
    })
    .await;
    step("empty", async {
        deregister(&mine, service, "10.5.0.1", 8001).await?;
        // The SDK does not call back with an empty list.
        until(15, async || list(&other, service, &[]).await.is_empty()).await
    })
    .await;
    step("unsubscribe", async {
        other.unsubscribe(service.to_owned(), group(), vec![], watch.clone()).await.map_err(text)?;
        Ok("ok".to_owned())
    })
    .await;
    step("persistent", persistent(&mine, &other)).await;
    step("batch", async {
        let name = format!("{service}-batch");
        let both = vec![instance("10.5.0.5", 1, true, "1"), instance("10.5.0.5", 2, true, "1")];
        mine.batch_register_instance(name.clone(), group(), both).await.map_err(text)?;
        until(10, async || list(&other, &name, &[]).await.len() == 2).await
    })
    .await;
    step("clusters", async {
        let name = format!("{service}-clusters");
        let there =
            ServiceInstance { cluster_name: Some("c2".to_owned()), ..instance("10.5.0.6", 1, true, "1") };
        mine.register_instance(name.clone(), group(), there).await.map_err(text)?;
        register(&other, &name, "10.5.0.7", 1, "1").await?;
        until(10, async || {
            list(&other, &name, &["c2"]).await.len() == 1 && list(&other, &name, &[]).await.len() == 2
        })
        .await
    })
    .await;
    step("namespace", async {
        let (name, there) = (format!("{service}-namespace"), naming("sdk-namespace").await?);
        register(&there, &name, "10.5.0.8", 1, "1").await?;
        let took = until(8, async || list(&there, &name, &[]).await.len() == 1).await?;
        check(list(&mine, &name, &[]).await.is_empty(), "seen in another namespace")?;
        Ok(took)
    })
    .await;
    config().await?;
    step("restart", restart(&mine, &other)).await;
    Ok(())
}

async fn persistent(mine: &NamingService, other: &NamingService) -> Checked {
    let name = format!("{}-durable", SERVICE.as_str());
    let durable = || instance("10.5.0.4", 8004, false, "1");
    mine.register_instance(name.clone(), group(), durable()).await.map_err(text)?;
    until(10, async || {
        let found = list(other, &name, &[]).await;
        found.len() == 1 && !found[0].ephemeral
    })
    .await?;
    mine.deregister_instance(name.clone(), group(), durable()).await.map_err(text)?;
    until(10, async || list(other, &name, &[]).await.is_empty()).await
}

async fn restart(mine: &NamingService, other: &NamingService) -> Checked {
    let name = format!("{}-restart", SERVICE.as_str());
    let settings = configuration("").await?;
    let followed = Followed::of(&settings, &format!("{name}.properties")).await?;
    followed.change(&settings, "before", 30).await?;
    register(mine, &name, "10.5.0.9", 8009, "1").await?;
    let watch = Watch::of(other, &name).await?;
    until(10, async || keys(&watch.last(), &["10.5.0.9:8009"])).await?;
    ask(&json!({"ask": "restart"}));
    step("config-restart", async {
        let fresh = configuration("").await?; // one with a listener answers from its cache
        until(60, async || {
            let found = fresh.get_config(followed.id.clone(), GROUP.to_owned()).await;
            found.is_ok_and(|found| found.content() == "before")
        })
        .await?;
        followed.change(&settings, "after", 60).await
    })
    .await;
    let took = until(60, async || keys(&values(&list(other, &name, &[]).await), &["10.5.0.9:8009"])).await?;
    until(30, async || register(mine, &name, "10.5.0.9", 8009, "restarted").await.is_ok()).await?;
    let told =
        until(30, async || watch.last().get("10.5.0.9:8009").is_some_and(|v| v == "restarted")).await?;
    Ok(format!("there again after {took}, a change told after {told}"))
}

#[derive(Default)]
struct Heard(Mutex<Vec<String>>);

impl Heard {
    fn all(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl ConfigChangeListener for Heard {
    fn notify(&self, response: ConfigResponse) {
        self.all().push(response.content().clone());
    }
}

/// A configuration whose changes are told.
struct Followed {
    id: String,
    heard: Arc<Heard>,
}

impl Followed {
    /// The SDK does not call back with the first content of what was missing when it began to listen: there is one before.
    async fn of(listening: &ConfigService, id: &str) -> Result<Followed, String> {
        let followed = Followed { id: id.to_owned(), heard: Arc::default() };
        let (group, content) = (GROUP.to_owned(), "first".to_owned());
        listening.publish_config(id.to_owned(), group, content, None).await.map_err(text)?;
        listening
            .add_listener(id.to_owned(), GROUP.to_owned(), followed.heard.clone())
            .await
            .map_err(text)?;
        Ok(followed)
    }

    /// Publishes, again until it is taken, and waits until it is told.
    async fn change(&self, publishing: &ConfigService, content: &str, seconds: u64) -> Checked {
        until(seconds, async || {
            let (group, content) = (GROUP.to_owned(), content.to_owned());
            let done = publishing.publish_config(self.id.clone(), group, content, None).await;
            matches!(done, Ok(true))
        })
        .await?;
        until(seconds, async || self.heard.all().last().is_some_and(|told| told == content)).await
    }
}

async fn config() -> Result<(), String> {
    if variable("SDK_SKIP").split(',').any(|one| one == "config-connect") {
        return Ok(());
    }
    let (id, group) = (format!("{}.properties", SERVICE.as_str()), GROUP.to_owned());
    let client = configuration("").await?;
    let get = async |of: &ConfigService| {
        of.get_config(id.clone(), group.clone()).await.map(|found| found.content().clone()).ok()
    };
    let publish = async |of: &ConfigService, content: &str| {
        let done = of.publish_config(id.clone(), group.clone(), content.to_owned(), None).await;
        done.map_err(text).and_then(|done| if done { Ok("ok".to_owned()) } else { Err("false".to_owned()) })
    };
    step("config-connect", async { Ok("built".to_owned()) }).await;
    step("config-get-missing", async {
        check(get(&client).await.is_none(), "something is there")?;
        Ok("nothing".to_owned())
    })
    .await;
    step("config-publish", publish(&client, "a=1\n中文")).await;
    step("config-get", until(5, async || get(&client).await.as_deref() == Some("a=1\n中文"))).await;
    step("config-listen", async {
        let heard = Arc::new(Heard::default());
        client.add_listener(id.clone(), group.clone(), heard.clone()).await.map_err(text)?;
        tokio::time::sleep(Duration::from_millis(1500)).await; // the first callback tells what is there
        heard.all().clear();
        publish(&client, "a=2").await?;
        until(20, async || heard.all().last().is_some_and(|told| told == "a=2")).await
    })
    .await;
    step("config-cas", async {
        let present = client.get_config(id.clone(), group.clone()).await.map_err(text)?.md5().clone();
        let set = async |md5: String| {
            client.publish_config_cas(id.clone(), group.clone(), "a=3".to_owned(), None, md5).await
        };
        check(!matches!(set("0".repeat(32)).await, Ok(true)), "a stale one was accepted")?;
        check(matches!(set(present).await, Ok(true)), "the present one was refused")?;
        Ok("stale refused, present accepted".to_owned())
    })
    .await;
    step("config-remove", async {
        client.remove_config(id.clone(), group.clone()).await.map_err(text)?;
        let fresh = configuration("").await?; // one with a listener goes on answering from its cache
        until(5, async || get(&fresh).await.is_none()).await
    })
    .await;
    step("config-namespace", async {
        let there = configuration("sdk-namespace").await?;
        publish(&there, "there").await?;
        let took = until(8, async || get(&there).await.as_deref() == Some("there")).await?;
        check(get(&configuration("").await?).await.is_none(), "seen in another namespace")?;
        Ok(took)
    })
    .await;
    Ok(())
}

async fn cluster() -> Result<(), String> {
    let (mine, other) = (naming("").await?, naming("").await?);
    let name = format!("{}-cluster", SERVICE.as_str());
    let both = ["10.5.1.1:8001", "10.5.1.2:8002"];
    step("cluster-register", async {
        register(&mine, &name, "10.5.1.1", 8001, "1").await?;
        until(10, async || keys(&values(&list(&other, &name, &[]).await), &both[..1])).await
    })
    .await;
    let watch = Watch::of(&other, &name).await?;
    step("cluster-push", async {
        until(20, async || keys(&watch.last(), &both[..1])).await?;
        register(&other, &name, "10.5.1.2", 8002, "1").await?;
        until(20, async || keys(&watch.last(), &both)).await
    })
    .await;
    let (publishing, listening) = (configuration("").await?, configuration("").await?);
    let followed = Followed::of(&listening, &format!("{name}.properties")).await?;
    step("cluster-config", followed.change(&publishing, "0", 20)).await;
    let seen = watch.lists().len().saturating_sub(1);
    for number in 1..=3 {
        let death = format!("death-{number}");
        step(&death, async {
            ask(&json!({"ask": format!("kill-{number}")}));
            step(&format!("config-{death}"), followed.change(&publishing, &death, 60)).await;
            let outcome = async {
                until(30, async || register(&mine, &name, "10.5.1.1", 8001, &death).await.is_ok()).await?;
                let took = until(30, async || watch.last().get(both[0]) == Some(&death)).await?;
                let asked = values(&list(&mine, &name, &[]).await);
                check(keys(&asked, &both), ("a query gives", asked))?;
                let odd = watch.lists()[seen..].iter().find(|list| !keys(&values(list), &both)).cloned();
                check(odd.is_none(), ("a callback gave", odd.map(|list| values(&list))))?;
                Ok(took)
            };
            let outcome: Checked = outcome.await;
            ask(&json!({"ask": format!("revive-{number}")}));
            outcome
        })
        .await;
    }
    step("cluster-deregister", async {
        deregister(&other, &name, "10.5.1.2", 8002).await?;
        until(20, async || keys(&watch.last(), &both[..1])).await
    })
    .await;
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), String> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["standalone"] => standalone().await,
        ["cluster"] => cluster().await,
        ["hold", service, ip, port] => {
            let client = naming("").await?;
            register(&client, service, ip, port.parse().map_err(text)?, "1").await?;
            std::future::pending().await
        }
        _ => Err("usage: SDK_SERVERS=HOST:PORT,… sdk-driver MODE".to_owned()),
    };
    if let Err(error) = &done {
        eprintln!("{error}");
    }
    // The SDK's tasks would keep the process.
    std::process::exit(i32::from(done.is_err()));
}
