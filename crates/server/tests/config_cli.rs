//! `dyad config` and `dyad ns` against a server of their own, from publishing to watching a server that dies.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};

use serde_json::{Value, json};
use server::{Server, outcome};

#[test]
fn one_configuration_from_its_first_version_to_its_end() {
    let server = Server::start();
    let out = server.ok("config set app.yaml --desc shop --reason first", "a: 1\nb: 2\n");
    assert!(out.starts_with("created public/DEFAULT_GROUP/app.yaml: 10 bytes of yaml, md5 "), "{out}");
    assert_eq!(server.ok("config get app.yaml", ""), "a: 1\nb: 2\n");
    assert_eq!(server.ok("config get app.yaml --consistent", ""), "a: 1\nb: 2\n");

    let first = server.json("config get app.yaml");
    let old = first["md5"].as_str().unwrap();
    let (code, _, errors) = server.run("config set app.yaml --cas absent", "x");
    assert_eq!((code, errors.contains("it is there, with md5 ")), (7, true), "{errors}");
    server.ok(&format!("config set app.yaml --cas {old} --reason second"), "a: 1\nb: 3\n");
    let (code, _, errors) = server.run(&format!("config set app.yaml --cas {old}"), "lost: true");
    assert_eq!((code, errors.contains("(409)")), (7, true), "{errors}");
    server.ok("config set app.yaml --cas current", "a: 1\nb: 4\n");
    let second = server.json("config get app.yaml");
    assert_eq!(
        (&second["desc"], &second["type"]),
        (&json!("shop"), &json!("yaml")),
        "what is not given stays"
    );

    let history = server.json("config history app.yaml");
    let nids: Vec<&str> = history.as_array().unwrap().iter().map(|v| v["nid"].as_str().unwrap()).collect();
    assert_eq!(nids.len(), 3);
    let reasons: Vec<&str> =
        history.as_array().unwrap().iter().map(|v| v["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["", "second", "first"]);
    assert!(history.as_array().unwrap().iter().all(|version| version["srcUser"] == "ops"), "{history}");
    let table = server.ok("config history app.yaml --limit 1", "");
    assert!(table.starts_with("NID") && table.lines().count() == 2, "{table}");
    assert_eq!(server.ok(&format!("config get app.yaml --version {}", nids[2]), ""), "a: 1\nb: 2\n");

    let newest = server.ok("config diff app.yaml", "");
    assert!(newest.contains("-b: 3\n+b: 4\n"), "{newest}");
    let both = format!("config diff app.yaml --from {} --to {} --exit-code", nids[2], nids[1]);
    let (code, out, _) = server.run(&both, "");
    assert_eq!((code, out.contains("-b: 2\n+b: 3\n")), (8, true), "{out}");
    assert_eq!(server.ok("config diff app.yaml - --exit-code", "a: 1\nb: 4\n"), "");
    let (code, out, _) = server.run("config diff app.yaml - --exit-code", "a: 1\n");
    assert_eq!((code, out.contains("-b: 4\n")), (8, true), "{out}");

    let out = server.ok(&format!("config rollback app.yaml {} --reason oops", nids[2]), "");
    assert!(out.contains("has the content of version"), "{out}");
    assert_eq!(server.ok("config get app.yaml", ""), "a: 1\nb: 2\n");
    assert!(server.ok("config rm app.yaml", "").starts_with("removed public/DEFAULT_GROUP/app.yaml, "));
    let (code, out, errors) = server.run("config get app.yaml", "");
    assert_eq!((code, &*out), (6, ""));
    assert_eq!(errors, "dyad: public/DEFAULT_GROUP/app.yaml: there is no such configuration\n");
    assert_eq!(server.run("config rm app.yaml", "").0, 6);
    assert_eq!(server.run("config rm app.yaml --force", "").0, 0);
}

#[test]
fn gray_releases_are_beside_the_configuration() {
    let server = Server::start();
    server.ok("config set d", "formal");
    let out = server.ok("config set d --beta-ips 10.0.0.1", "for one");
    assert!(out.starts_with("created public/DEFAULT_GROUP/d (beta): "), "{out}");
    server.ok("config set d --tag blue", "for blue");
    assert_eq!(server.ok("config get d", ""), "formal");
    assert_eq!(server.ok("config get d --gray beta", ""), "for one");
    assert_eq!(server.ok("config get d --gray tag_blue", ""), "for blue");
    let table = server.ok("config history d", "");
    let releases: Vec<&str> = table.lines().map(|line| line.split_whitespace().nth(4).unwrap()).collect();
    assert_eq!(releases[1..], ["tag_blue", "beta", "formal"], "{table}");
    server.ok("config rm d --gray tag_blue", "");
    assert_eq!(server.run("config get d --gray tag_blue", "").0, 6);
    assert_eq!(server.ok("config get d", ""), "formal");
}

#[test]
fn lists_searches_and_namespaces() {
    let server = Server::start();
    assert_eq!(server.ok("ns create dev --name Development", ""), "created dev\n");
    let (code, _, errors) = server.run("ns create dev", "");
    assert_eq!((code, &*errors), (7, "dyad: namespace \"dev\" exists\n"));
    server.ok("ns update dev --desc try", "");
    let table = server.ok("ns ls", "");
    assert!(table.lines().any(|line| line.starts_with("dev     Development  0 ")), "{table}");
    assert_eq!(server.run("ns update nowhere --name x", "").0, 6);

    for (line, content) in [
        ("config set a.json", "{\"port\": 1}"),
        ("config set b.json -g G", "{\"host\": 2}"),
        ("config set a.json -n dev", "{\"port\": 9}"),
        ("config set c.txt -n dev", "port 7\nother\nport 8\n"),
    ] {
        server.ok(line, content);
    }
    let names = |line: &str| -> Vec<String> {
        let list = server.json(line);
        list.as_array().unwrap().iter().map(|item| item["dataId"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names("config ls"), ["a.json", "b.json"]);
    assert_eq!(names("config ls *.json -g G"), ["b.json"]);
    assert_eq!(names("config ls -n dev --type text"), ["c.txt"]);
    let table = server.ok("config ls", "");
    assert!(table.starts_with("GROUP          DATA ID  TYPE  MD5 "), "{table}");
    assert!(table.lines().nth(1).unwrap().starts_with("DEFAULT_GROUP  a.json   json  "), "{table}");

    let found = server.ok("config grep port -n dev", "");
    assert!(found.contains("dev/DEFAULT_GROUP/c.txt:3: port 8\n"), "{found}");
    assert_eq!(server.ok("config grep host", ""), "public/G/b.json:1: {\"host\": 2}\n");
    assert_eq!(server.run("config grep nowhere", "").0, 6);

    let (code, out, _) = server.run("config diff --with dev --exit-code", "");
    assert_eq!(code, 8);
    assert!(out.contains("different: DEFAULT_GROUP/a.json\n--- public/DEFAULT_GROUP/a.json\n"), "{out}");
    assert!(out.contains("only in public: G/b.json\n"), "{out}");
    assert!(out.contains("only in dev: DEFAULT_GROUP/c.txt\n"), "{out}");

    let (code, _, errors) = server.run("ns delete dev", "");
    assert_eq!(
        (code, errors.contains("the namespace holds 2 configurations and 0 services")),
        (7, true),
        "{errors}"
    );
    assert_eq!(server.ok("ns delete dev --force", ""), "deleted dev\n");
    assert_eq!(server.run("ns delete dev", "").0, 6);
}

#[test]
fn a_misspelt_namespace_gets_no_data() {
    let server = Server::start();
    for line in ["config set d -n typo", "config set d -n typo --tag blue"] {
        let (code, _, errors) = server.run(line, "x");
        assert_eq!(
            (code, errors.contains("there is no namespace \"typo\": ")),
            (6, true),
            "{line}: {errors}"
        );
        assert_eq!(server.json("config ls -n typo"), json!([]));
    }
    server.ok("config set d -n meant --create-namespace", "x");
    assert!(server.ok("ns ls", "").lines().any(|line| line.starts_with("meant   meant")));
    server.ok("config set e -n meant", "x");
    server.ok("config set e -n public", "x");

    // What other clients put into a namespace that nobody created can still be changed.
    server.post("/nacos/v1/cs/configs?tenant=wild&group=DEFAULT_GROUP&dataId=d&content=1");
    server.ok("config set d -n wild", "2");
}

#[test]
fn archives_go_from_one_namespace_to_another() {
    let server = Server::start();
    for ns in ["new", "old"] {
        server.ok(&format!("ns create {ns}"), "");
    }
    server.ok("config set a.yaml --app shop --desc here", "x: 1\n");
    server.ok("config set b -g G --type json", "{}");
    for (format, kind) in [("new", "json"), ("old", "text")] {
        let file = format!("{format}.zip");
        let out = server.ok(&format!("config export {file} --format {format}"), "");
        assert_eq!(out, format!("2 configurations of public are in {file}\n"));
        let dry = server.ok(&format!("config import {file} -n {format} --dry-run"), "");
        assert!(dry.contains(&format!("create: {format}/DEFAULT_GROUP/a.yaml\n")), "{dry}");
        assert!(
            server.json(&format!("config ls -n {format}")).as_array().unwrap().is_empty(),
            "nothing written"
        );
        assert_eq!(server.ok(&format!("config import {file} -n {format}"), ""), "published 2\n");
        let copy = server.json(&format!("config get a.yaml -n {format}"));
        assert_eq!((&copy["content"], &copy["appName"]), (&json!("x: 1\n"), &json!("shop")));
        let copy = server.json(&format!("config get b -g G -n {format}"));
        assert_eq!(copy["type"], kind, "the old format has types by extension only");
    }
    let (code, _, errors) = server.run("config import new.zip -n new", "");
    assert_eq!((code, errors.contains("is there already, and ended the import")), (7, true), "{errors}");
    let dry = server.run("config import new.zip -n new --dry-run", "");
    assert_eq!((dry.0, dry.1.contains("conflict: new/DEFAULT_GROUP/a.yaml\n")), (7, true), "{}", dry.1);
    assert!(dry.2.contains("DEFAULT_GROUP/a.yaml is there already, and would end the import"), "{}", dry.2);
    server.ok("config set a.yaml -n new", "x: 2\n");
    let dry = server.run("config import new.zip -n new --policy overwrite --dry-run --exit-code", "");
    assert_eq!(dry.0, 8);
    assert!(
        dry.1.contains("overwrite: new/DEFAULT_GROUP/a.yaml\n") && dry.1.contains("-x: 2\n+x: 1\n"),
        "{}",
        dry.1
    );
    assert!(dry.1.contains("same: new/G/b\n"), "{}", dry.1);
    server.ok("config import new.zip -n new --policy overwrite", "");
    assert_eq!(server.ok("config get a.yaml -n new", ""), "x: 1\n");
    let skipped = server.ok("config import new.zip -n new --policy skip", "");
    assert!(skipped.starts_with("published 0\nskipped: "), "{skipped}");
    assert_eq!(server.run("config import new.zip -n nowhere", "").0, 6);
    assert_eq!(server.run("config import new.zip -n nowhere --dry-run", "").0, 6);
    assert_eq!(server.run("config export none.zip -g nobody", "").0, 6);
    assert!(!server.path("none.zip").exists());
    let archive = std::fs::read(server.path("new.zip")).unwrap();
    std::fs::create_dir(server.path("new.zip.part")).unwrap();
    assert_eq!(server.run("config export new.zip -n new", "").0, 2);
    assert_eq!(std::fs::read(server.path("new.zip")).unwrap(), archive, "the old one is still there");
    std::fs::write(server.path("bad.zip"), "no archive").unwrap();
    for (command, want) in [("config import bad.zip", 1), ("config import bad.zip --dry-run", 2)] {
        let (code, _, errors) = server.run(command, "");
        assert_eq!((code, errors.contains("the file is no zip archive")), (want, true), "{errors}");
    }
}

/// A watching process, whose events are read one by one.
struct Watch {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
}

impl Watch {
    fn next(&mut self) -> (String, String, Value) {
        let event: Value = serde_json::from_str(&self.events.next().unwrap().unwrap()).unwrap();
        let text = |name: &str| event[name].as_str().unwrap().to_owned();
        (text("event"), text("dataId"), event["content"].clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

#[test]
fn a_watch_survives_its_server() {
    let mut server = Server::start();
    server.ok("config set a", "1");
    let mut command = server.dyad("config watch a b --output json");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut watch = Watch { child, events };
    let event = |name: &str, data_id: &str, content: Value| (name.to_owned(), data_id.to_owned(), content);
    let mut first = [watch.next(), watch.next()];
    first.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(first, [event("present", "a", json!("1")), event("absent", "b", Value::Null)]);
    server.ok("config set a", "2");
    assert_eq!(watch.next(), event("changed", "a", json!("2")));
    server.ok("config set b", "new");
    assert_eq!(watch.next(), event("created", "b", json!("new")));
    server.kill();
    server.restart();
    server.ok("config rm a", "");
    assert_eq!(watch.next(), event("removed", "a", Value::Null));

    let mut once = server.dyad("config watch b --once").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(once.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("  present  public/DEFAULT_GROUP/b  md5 "));
    server.ok("config set b", "newer");
    let shown: Vec<String> = lines.map(Result::unwrap).collect();
    assert!(shown[0].contains("  changed  ") && shown.contains(&"+newer".to_owned()), "{shown:?}");
    assert_eq!(once.wait().unwrap().code(), Some(0));
}

#[test]
fn what_is_refused_is_named() {
    let server = Server::start();
    std::fs::write(server.path("latin"), [b'a', 0xe9]).unwrap();
    for (line, input, code, message) in [
        ("config get a/b", "", 1, "illegal"),
        ("config get d -n a,b", "", 1, "illegal"),
        ("config set d", " \n", 2, "dyad: -: content is blank\n"),
        ("config set d latin", "", 2, "dyad: latin is not UTF-8 at byte 1\n"),
        ("config set d no-such-file", "", 2, "dyad: cannot read no-such-file: "),
        ("config set d --type yml", "x", 2, "--type: \"yml\" is none of properties, "),
        ("config set d --cas 123", "x", 2, "--cas: \"123\" is neither current, nor absent, nor an md5"),
        ("config set d --cas current", "x", 7, "it is not there: --cas absent creates it"),
        ("config set d --rule x", "x", 2, "--gray <NAME>"),
        ("config set d --gray r --rule [", "x", 1, "dyad: http://"),
        ("config get d --version 7", "", 6, "version 7 is not in the history"),
        ("config rollback d 7", "", 6, "version 7 is not in the history"),
        ("config history d", "", 6, "there is no such configuration"),
        ("config diff", "", 2, "<DATA_ID>"),
        ("config get d --server ftp://x", "", 2, "the scheme is unknown"),
        ("config get d --server http://127.0.0.1:1", "", 1, "http://127.0.0.1:1: no server answers"),
        ("ns create a,b", "", 1, "dyad: http://"),
        ("ns update public --name x", "", 1, "the default namespace can be neither changed nor deleted"),
        ("ns delete public --force", "", 1, "the default namespace can be neither changed nor deleted"),
    ] {
        let (got, out, errors) = server.run(line, input);
        assert_eq!((got, &*out), (code, ""), "{line}: {errors}");
        assert!(errors.contains(message), "{line}: {errors}");
    }
    for line in ["config ls", "ns ls --output json", "token new"] {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let (code, _, errors) = outcome(server.dyad(line).stdout(full).output().unwrap());
        assert_eq!(code, 5, "{line}: what is cut off must not look whole");
        assert!(errors.starts_with("dyad: cannot write to standard output: "), "{line}: {errors}");
    }
    let two = format!("config set d --server http://127.0.0.1:1,{}", server.url);
    assert_eq!(server.run(&two, "x").0, 0, "the first that answers");
}
