//! docs/settings.md and the table of settings say the same: the page's table is what this test prints when it fails.

use dyad_server::settings::{Row, TABLE};

const BEGIN: &str = "<!-- table: begin -->\n";
const END: &str = "<!-- table: end -->\n";

#[test]
fn the_page_has_every_setting() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/settings.md");
    let page = std::fs::read_to_string(path).expect("docs/settings.md exists");
    let (_, rest) = page.split_once(BEGIN).expect("the page has the begin mark");
    let (table, _) = rest.split_once(END).expect("the page has the end mark");
    let want = markdown();
    assert!(table == want, "put this between the marks of docs/settings.md:\n{want}");
}

fn markdown() -> String {
    let head = "| dyad.toml | flag | variable | default | what it does | rule |\n|---|---|---|---|---|---|\n";
    TABLE.iter().map(line).fold(head.to_owned(), |text, line| text + &line)
}

fn line(row: &Row) -> String {
    let key = if row.in_file { format!("`{}`", row.key) } else { "–".to_owned() };
    let flag = if row.value.is_empty() { row.flag.to_owned() } else { format!("{} {}", row.flag, row.value) };
    let names: Vec<String> = [row.env].iter().chain(row.nacos).map(|name| format!("`{name}`")).collect();
    let default = if row.default.is_empty() { "none" } else { row.default };
    format!("| {key} | `--{flag}` | {} | {default} | {} | {} |\n", names.join(", "), row.help, row.rule)
}
