//! Settings as a whole: order of the sources, every refusal with its message, the output of `dyad settings`.

use std::fs;
use std::path::Path;

use super::*;

/// Inputs from `key=value` flags and `NAME=value` variables, in an empty directory's stead.
fn inputs(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Inputs {
    Inputs {
        flags: flags.iter().map(|(key, value)| (*key, (*value).to_owned())).collect(),
        env: env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        dir: "/nonexistent".into(),
        hostname: "dyad-2".to_owned(),
    }
}

fn with_file(dir: &Path, text: &str) -> Inputs {
    fs::write(dir.join("dyad.toml"), text).unwrap();
    Inputs { dir: dir.to_path_buf(), ..inputs(&[], &[]) }
}

fn load(flags: &[(&'static str, &str)], env: &[(&str, &str)]) -> Settings {
    Settings::load(&inputs(flags, env)).expect("good settings")
}

fn refusal(inputs: &Inputs) -> String {
    Settings::load(inputs).expect_err("a bad setting").to_string()
}

/// Pairs of key and text, or of variable and text.
type Pairs<'a> = &'a [(&'static str, &'a str)];

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

#[test]
fn the_table_is_uniform_and_every_default_is_good() {
    for row in TABLE {
        assert_eq!(row.flag, row.key.replace(['.', '_'], "-"));
        assert_eq!(row.env, format!("DYAD_{}", row.key.replace('.', "_").to_uppercase()));
        assert!(!row.rule.is_empty() && !row.help.is_empty(), "{}", row.key);
    }
    let settings = load(&[], &[]);
    assert!(settings.standalone());
    assert_eq!(settings.warnings, Vec::<String>::new());
    assert_eq!((settings.port, settings.grpc_port, settings.cluster_port), (8848, 9848, 9849));
    assert_eq!(settings.limits.instances, dyad_types::limits::INSTANCES_MAX);
    assert_eq!(settings.limits.services, dyad_types::limits::SERVICES_MAX);
    assert_eq!(settings.limits.instances_per_service, dyad_types::limits::INSTANCES_PER_SERVICE_MAX);
    assert_eq!(settings.limits.page, dyad_types::limits::PAGE_MAX);
    assert_eq!(settings.limits.body, 10 << 20);
    assert_eq!(settings.limits.header_read, Duration::from_secs(10));
}

#[test]
fn sources_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = with_file(dir.path(), "port = 3\n[limits]\npage = 3\n");
    all.flags.insert("port", "1".to_owned());
    all.env.insert("DYAD_PORT".to_owned(), "2".to_owned());
    all.env.insert("NACOS_APPLICATION_PORT".to_owned(), "4".to_owned());
    let port = |inputs: &Inputs| Settings::load(inputs).expect("good settings").port;
    assert_eq!(port(&all), 1);
    all.flags.clear();
    assert_eq!(port(&all), 2);
    all.env.insert("DYAD_PORT".to_owned(), " ".to_owned());
    assert_eq!(port(&all), 3, "a variable that is set but empty is not given");
    assert_eq!(Settings::load(&all).unwrap().limits.page, 3);
    fs::remove_file(dir.path().join("dyad.toml")).unwrap();
    assert_eq!(port(&all), 4);
    all.env.clear();
    assert_eq!(port(&all), 8848);
}

/// All ways to write the file, at once.
#[test]
fn the_file() {
    let dir = tempfile::tempdir().unwrap();
    let text = format!(
        "bind = \"::1\"\nport = \"8858\"\nmembers = [\"a\", \"b:1/2\"]\nadvertise = \"A\"\n\
         cluster_token_file = \"{}\"\ninsecure = true\nlog_format = \"JSON\"\n\
         nacos.naming.expireInstance = false\nmin_free_disk = 0\nrebalance_after = \"Off\"\n[limits]\nbody = \"1MiB\"\nbody_read = \"1m\"\n",
        dir.path().join("token").display()
    );
    fs::write(dir.path().join("token"), format!("  {TOKEN}\n\n")).unwrap();
    let settings = Settings::load(&with_file(dir.path(), &text)).unwrap();
    assert_eq!(settings.bind.to_string(), "::1");
    let members: Vec<String> = settings.members.iter().map(ToString::to_string).collect();
    assert_eq!(members, ["a:8858", "b:1/2"]);
    assert_eq!(settings.advertise, Some(settings.members[0].clone()));
    assert_eq!(settings.cluster_token.unwrap().expose(), TOKEN.as_bytes());
    assert!(settings.insecure && !settings.expire_instance);
    assert_eq!((settings.log_format, settings.min_free_disk), (LogFormat::Json, Some(0)));
    assert_eq!(settings.rebalance_after, None);
    assert_eq!((settings.limits.body, settings.limits.body_read), (1 << 20, Duration::from_secs(60)));
}

#[test]
fn nacos_names() {
    let env = [
        ("MODE", "cluster"),
        ("NACOS_SERVERS", "dyad-1.svc:8848?raft_port=7848 dyad-2.svc:8848"),
        ("PREFER_HOST_MODE", "hostname"),
        ("NACOS_APPLICATION_PORT", "8850"),
        ("DYAD_CLUSTER_TOKEN", TOKEN),
        ("NACOS_NAMING_EXPIREINSTANCE", "false"),
    ];
    let settings = load(&[], &env);
    let own = settings.advertise.unwrap();
    assert_eq!((own.http(), own.cluster()), ("dyad-2.svc:8848".to_owned(), "dyad-2.svc:9849".to_owned()));
    assert_eq!((settings.port, settings.expire_instance), (8850, false));
    let property = load(&[], &[("nacos.naming.expireInstance", "false"), ("MODE", "standalone")]);
    assert!(!property.expire_instance);
    // Kubernetes's service links and another program's variables are not ours.
    let links =
        load(&[], &[("DYAD_PORT", "tcp://10.0.0.1:8848"), ("DYAD_SERVICE_HOST", "10.0.0.1"), ("MODE", "")]);
    assert_eq!(links.port, 8848);
    assert_eq!(links.warnings.len(), 1, "{:?}", links.warnings);
}

#[test]
fn advertise_names_one_entry() {
    let members = "10.0.0.1:8848,10.0.0.1:8858,[fe80::1]:8848,n-0.a:8848,n-0.b:8848,n-1.a:8848";
    let good = [
        ("10.0.0.1:8858", "10.0.0.1:8858"),
        ("10.0.0.1", "10.0.0.1:8848"),
        ("fe80::1", "[fe80::1]:8848"),
        ("[FE80::1]:8848", "[fe80::1]:8848"),
        ("n-1", "n-1.a:8848"),
    ];
    let cluster = |name| [("members", members), ("advertise", name)];
    for (name, want) in good {
        let own = load(&cluster(name), &[("DYAD_CLUSTER_TOKEN", TOKEN)]).advertise.unwrap();
        assert_eq!(own.http(), want, "{name}");
    }
    for name in ["10.0.0.1:1", "n-0", "n", "n-1.b"] {
        let text = refusal(&inputs(&cluster(name), &[("DYAD_CLUSTER_TOKEN", TOKEN)]));
        let want = format!(
            "setting advertise (--advertise): {name:?} is not exactly one entry of members: {members}"
        );
        assert_eq!(text, want);
    }
    let alone = load(&[], &[("NACOS_SERVER_IP", "10.1.2.3")]).advertise.unwrap();
    assert_eq!(alone.http(), "10.1.2.3:8848");
}

#[test]
fn ports_of_other_members_on_this_host() {
    let claimed = |port: &str, members: &str, asked: u16| {
        let token = [("DYAD_CLUSTER_TOKEN", TOKEN)];
        load(&[("port", port), ("members", members)], &token).claimed(asked)
    };
    let row = "127.0.0.1:8848,127.0.0.1:8849,127.0.0.1:8850/7000";
    let advice = "too: give the members of one host ports ten apart, or set cluster_port";
    let table = [
        ("8848", row, 9849, Some("9849 is the SDK port (port + 1000) of 127.0.0.1:8849")),
        ("8849", row, 9849, Some("9849 is the cluster port of 127.0.0.1:8848")),
        ("8848", row, 8850, Some("8850 is the HTTP port of 127.0.0.1:8850")),
        ("8848", row, 7000, Some("7000 is the cluster port of 127.0.0.1:8850")),
        ("8848", row, 9848, None),
        ("8848", "a,b,c", 9849, None),
        ("8848", "a:8848,b:8849", 9849, None),
        ("8848", "a:8848,a:8858", 9849, None),
    ];
    for (port, members, asked, want) in table {
        let want = want.map(|what| format!("{what} {advice}"));
        assert_eq!(claimed(port, members, asked), want, "{port} {members} {asked}");
    }
}

#[test]
fn bad_values_name_setting_source_and_rule() {
    let port = "is not valid: want a port from 0 to 65535, 0 for any free one";
    let cases: Vec<(&'static str, &str, String)> = vec![
        ("port", "65536", format!("\"65536\" {port}")),
        ("port", "-1", format!("\"-1\" {port}")),
        ("port", "", format!("\"\" {port}")),
        ("cluster_port", "x\n", format!("\"x\" {port}")),
        ("bind", "localhost", format!("\"localhost\" is not valid: want {}", row("bind").rule)),
        (
            "bind",
            "0.0.0.0",
            "0.0.0.0 is not a loopback address, and nobody has to log in: add --insecure to allow it".into(),
        ),
        ("data_dir", "", format!("\"\" is not valid: want {}", row("data_dir").rule)),
        ("insecure", "yes", "\"yes\" is not valid: want true or false".into()),
        ("log_format", "xml", "\"xml\" is not valid: want text or json".into()),
        ("log_level", "loud", format!("\"loud\" is not valid: want {}", row("log_level").rule)),
        ("rebalance_after", "500ms", format!("\"500ms\" is not valid: want {}", row("rebalance_after").rule)),
        ("min_free_disk", "1GB", format!("\"1GB\" is not valid: want {}", row("min_free_disk").rule)),
        ("limits.body", "1", format!("\"1\" is not valid: want {}", row("limits.body").rule)),
        ("limits.headers", "2MiB", format!("\"2MiB\" is not valid: want {}", row("limits.headers").rule)),
        ("limits.header_read", "10", format!("\"10\" is not valid: want {}", row("limits.header_read").rule)),
        ("limits.page", "0", "\"0\" is not valid: want a whole number from 1 to 100000000".into()),
        ("members", "a a", format!("a:8848 is named twice: want {}", row("members").rule)),
        (
            "config",
            "/nonexistent",
            "/nonexistent cannot be read: No such file or directory (os error 2)".into(),
        ),
    ];
    for (key, value, why) in cases {
        let row = row(key);
        let flag = refusal(&inputs(&[(key, value)], &[]));
        assert_eq!(flag, format!("setting {key} (--{}): {why}", row.flag));
        if !value.is_empty() {
            let env = refusal(&inputs(&[], &[(row.env, value)]));
            assert_eq!(env, format!("setting {key} ({}): {why}", row.env));
        }
    }
}

#[test]
fn contradictions() {
    let cases: [(Pairs<'_>, Pairs<'_>, &str); 11] = [
        (
            &[("members", "a,b")],
            &[],
            "setting cluster_token (--members): members need a cluster token: give --cluster-token-file or \
             DYAD_CLUSTER_TOKEN (`dyad token new` prints one)",
        ),
        (
            &[("members", "a,b")],
            &[("MODE", "standalone"), ("DYAD_CLUSTER_TOKEN", TOKEN)],
            "setting members (MODE): standalone, but members are given (--members): remove one",
        ),
        (
            &[],
            &[("MODE", "Cluster")],
            "setting members (MODE): cluster, but no members are given: set --members or NACOS_SERVERS",
        ),
        (&[], &[("MODE", "x")], "setting members (MODE): \"x\" is not valid: want standalone or cluster"),
        (
            &[],
            &[("PREFER_HOST_MODE", "fqdn")],
            "setting advertise (PREFER_HOST_MODE): \"fqdn\" is not valid: want ip or hostname",
        ),
        (
            &[],
            &[("DYAD_CLUSTER_TOKEN", "short")],
            "setting cluster_token (DYAD_CLUSTER_TOKEN): the token has 5 bytes: want 32 to 4096",
        ),
        (
            &[],
            &[("DYAD_CLUSTER_TOKEN", TOKEN), ("DYAD_CLUSTER_TOKEN_FILE", "f")],
            "setting cluster_token (DYAD_CLUSTER_TOKEN and DYAD_CLUSTER_TOKEN_FILE): both are set: keep one",
        ),
        (
            &[("port", "65000")],
            &[],
            "setting grpc_port (default): 65000 + 1000 is above 65535: give one with --grpc-port",
        ),
        (
            &[("port", "7"), ("grpc_port", "7")],
            &[],
            "setting grpc_port (--grpc-port): 7 is the HTTP port: want another one",
        ),
        (
            &[("port", "65000"), ("grpc_port", "0")],
            &[("DYAD_CLUSTER_TOKEN", TOKEN)],
            "setting cluster_port (default): 65000 + 1001 is above 65535: give one with --cluster-port",
        ),
        (
            &[("port", "7"), ("cluster_port", "7")],
            &[("DYAD_CLUSTER_TOKEN", TOKEN)],
            "setting cluster_port (--cluster-port): 7 is the HTTP port: want another one",
        ),
    ];
    for (flags, env, want) in cases {
        assert_eq!(refusal(&inputs(flags, env)), want);
    }
    load(&[("port", "65000"), ("grpc_port", "0")], &[]);
    load(&[("bind", "0.0.0.0"), ("insecure", "true")], &[]);
    let bad = refusal(&inputs(&[("port", "x"), ("bind", "y")], &[("MODE", "z")]));
    assert_eq!(bad.lines().count(), 3, "all problems at once: {bad}");
}

#[test]
fn bad_files() {
    let page = row("limits.page").rule;
    let cases = [
        ("prot = 1", "setting prot (FILE): unknown key; the nearest key is \"port\"".to_owned()),
        ("body = 1", "setting body (FILE): unknown key; the nearest key is \"limits.body\"".into()),
        (
            "[limits]\nconections = 1",
            "setting limits.conections (FILE): unknown key; the nearest key is \"limits.connections\"".into(),
        ),
        (
            "cluster_token = \"x\"",
            "setting cluster_token (FILE): unknown key; the nearest key is \"cluster_token_file\"".into(),
        ),
        (
            "config = \"x\"",
            "setting config (FILE): unknown key; the nearest key is \"config.retention_days\"".into(),
        ),
        (
            "[limits]\npage = 1.5",
            format!("setting limits.page (FILE: limits.page): a float is not valid: want {page}"),
        ),
        (
            "[limits]\npage = -1",
            format!("setting limits.page (FILE: limits.page): \"-1\" is not valid: want {page}"),
        ),
        (
            "members = [1]",
            format!("setting members (FILE: members): an array is not valid: want {}", row("members").rule),
        ),
        (
            "expire_instance = true\nnacos.naming.expireInstance = true",
            "setting expire_instance (FILE): given twice, under both of its names".into(),
        ),
    ];
    for (text, want) in cases {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("dyad.toml").display().to_string();
        assert_eq!(refusal(&with_file(dir.path(), text)), want.replace("FILE", &file), "{text}");
    }
    let dir = tempfile::tempdir().unwrap();
    for text in ["port = ", "port = 1\nport = 2", "\u{0}"] {
        let message = refusal(&with_file(dir.path(), text));
        assert!(message.starts_with("setting config (") && message.contains("at line "), "{message}");
    }
    fs::write(dir.path().join("dyad.toml"), vec![b'#'; 2 << 20]).unwrap();
    let large = Inputs { dir: dir.path().to_path_buf(), ..inputs(&[], &[]) };
    assert!(refusal(&large).ends_with("cannot be read: larger than 1048576 bytes"));
}

#[test]
fn a_directory_without_a_time_is_told() {
    for (given, warnings) in [
        (
            &[("backup.dir", "/b")][..],
            &["backup.dir is set, but backup.every is off: no backups are made"][..],
        ),
        (&[("backup.dir", "/b"), ("backup.every", "6h")], &[]),
    ] {
        assert_eq!(load(given, &[]).warnings, warnings, "{given:?}");
    }
}

#[test]
fn misspelt_variables_are_told() {
    let settings = load(&[], &[("DYAD_MEMBER", "a"), ("DYAD_X_SERVICE_PORT", "1")]);
    assert_eq!(
        settings.warnings,
        ["DYAD_MEMBER is no setting and has no effect; the nearest one is DYAD_MEMBERS"]
    );
    // The variable of `dyad config` and `dyad ns`, in the same shell as a server.
    assert_eq!(load(&[], &[("DYAD_SERVER", "http://a:1")]).warnings, [""; 0]);
}

/// No message, no debug output and no line of `dyad settings` shows the token.
#[test]
fn secrets_stay_secret() {
    let settings = load(&[("members", "a,b")], &[("DYAD_CLUSTER_TOKEN", TOKEN)]);
    assert!(!format!("{settings:?}").contains(TOKEN));
    assert!(!settings.to_text().contains(TOKEN));
    let short = refusal(&inputs(&[], &[("DYAD_CLUSTER_TOKEN", "hush-hush")]));
    assert!(!short.contains("hush"), "{short}");
}

#[test]
fn golden_output() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "0123456789abcdef0123456789abcdef0123456789ab\n").unwrap();
    let mut from = with_file(dir.path(), "log_level = \"debug\"\n[limits]\npage = 500\n");
    from.flags.insert("port", "8858".to_owned());
    from.flags.insert("cluster_token_file", token.display().to_string());
    from.env.insert("DYAD_DATA_DIR".to_owned(), "/data".to_owned());
    from.env.insert("NACOS_SERVERS".to_owned(), "dyad-1:8848 dyad-2:8858/7000".to_owned());
    from.env.insert("PREFER_HOST_MODE".to_owned(), "hostname".to_owned());
    let text = Settings::load(&from).unwrap().to_text();
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let shown: Vec<String> =
        text.replace(&dir.path().display().to_string(), "DIR").lines().map(words).collect();
    let want = "\
bind 127.0.0.1 default
port 8858 --port
grpc_port 9858 default (port + 1000)
cluster_port 9859 default (port + 1001)
members dyad-1:8848,dyad-2:8858/7000 NACOS_SERVERS
advertise dyad-2:8858 PREFER_HOST_MODE
learner false default
level newest default
cluster_token_file <set, 44 bytes, from DIR/token> --cluster-token-file
data_dir /data DYAD_DATA_DIR
config DIR/dyad.toml default
log_format text default
log_level debug DIR/dyad.toml: log_level
insecure false default
expire_instance true default
rebalance_after 60s default
min_free_disk auto default
memory all default
config.retention_days 30 default
config.history_max 1000 default
config.history_bytes 8GiB default
config.quotas false default
backup.every off default
backup.keep 28 default
backup.dir - default
limits.body 10MiB default
limits.form 64KiB default
limits.headers 16KiB default
limits.header_read 10s default
limits.body_read 30s default
limits.connections 16384 default
limits.grpc_connections 100000 default
limits.instances 1000000 default
limits.services 100000 default
limits.instances_per_service 10000 default
limits.metadata 1024 default
limits.page 500 DIR/dyad.toml: limits.page";
    assert_eq!(shown.join("\n"), want);
    let columns: Vec<usize> = text.lines().map(|line| line.split("  ").next().unwrap().len()).collect();
    assert!(columns.iter().all(|width| *width <= "limits.instances_per_service".len()), "{text}");
    let by_value = load(&[], &[("DYAD_CLUSTER_TOKEN", TOKEN)]).to_text();
    assert!(by_value.contains("<set, 32 bytes, from DYAD_CLUSTER_TOKEN>"), "{by_value}");
    assert!(
        load(&[], &[]).to_text().contains("\nmembers                       -          default\n"),
        "columns"
    );
}

#[test]
fn operator_commands_need_only_their_place() {
    let env = [("DYAD_MEMBERS", "a,b"), ("MODE", "x"), ("DYAD_BIND", "bad"), ("DYAD_PORT", "7")];
    let from = inputs(&[("data_dir", "/d"), ("limits.page", "bad")], &env);
    assert_eq!(place::data_dir(&from).unwrap(), Path::new("/d"));
    let (data_dir, members, _) = place::data_dir_and_own(&from).unwrap();
    assert_eq!((data_dir.as_path(), members[1].http().as_str()), (Path::new("/d"), "b:7"));
    assert_eq!(place::http(&from).unwrap_err().0.len(), 1);
    assert_eq!(place::http(&inputs(&[("port", "1")], &[])).unwrap().to_string(), "127.0.0.1:1");
}

#[test]
fn a_data_dir_that_is_a_file_is_a_bad_setting_for_all_who_read_it() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let file = file.display().to_string();
    let want =
        format!("setting data_dir (--data-dir): {file:?} is no directory: want {}", row("data_dir").rule);
    let from = inputs(&[("data_dir", &file)], &[]);
    assert_eq!(refusal(&from), want);
    assert_eq!(place::data_dir(&from).unwrap_err().to_string(), want);
    assert_eq!(place::data_dir_and_own(&from).unwrap_err().to_string(), want);
}
