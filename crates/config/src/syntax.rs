//! Is a content what its declared type says? Syntax only: nothing is interpreted, and no entity or alias is expanded.

use crate::ConfigType;
use crate::yaml::{Events, YamlError};

/// What is wrong, with its place; `None` when nothing is, when the type has no syntax, or when a YAML text holds a
/// collection that is too long to be looked at. Takes up to 200 bytes of memory for each byte of the content.
pub fn check(kind: ConfigType, content: &str) -> Option<String> {
    match kind {
        ConfigType::Json => {
            serde_json::from_str::<serde::de::IgnoredAny>(content).err().map(|e| e.to_string())
        }
        ConfigType::Yaml => yaml(content),
        ConfigType::Xml => xml(content),
        ConfigType::Toml => toml::from_str::<toml::Table>(content).err().map(|e| e.message().to_owned()),
        ConfigType::Properties => properties(content),
        ConfigType::Text | ConfigType::Html | ConfigType::Unset => None,
    }
}

fn yaml(content: &str) -> Option<String> {
    let mut events = Events::new(content);
    while let Some(event) = events.next() {
        match event {
            Ok(_) => {}
            Err(YamlError::Syntax(what)) => return Some(what),
            Err(YamlError::TooLong) => return None,
        }
    }
    None
}

fn xml(content: &str) -> Option<String> {
    use quick_xml::events::Event;
    let mut reader = quick_xml::Reader::from_str(content);
    let mut depth = 0_usize;
    let mut roots = 0;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_)) => {
                roots += usize::from(depth == 0);
                depth += 1;
            }
            Ok(Event::End(_)) => depth = depth.saturating_sub(1),
            Ok(Event::Empty(_)) => roots += usize::from(depth == 0),
            Ok(Event::Text(text)) if depth == 0 && !text.as_ref().trim_ascii().is_empty() => {
                return Some(format!(
                    "text outside of the root element before byte {}",
                    reader.buffer_position()
                ));
            }
            Ok(Event::Eof) if depth > 0 => return Some(format!("{depth} elements are not closed")),
            Ok(Event::Eof) if roots != 1 => return Some(format!("{roots} root elements")),
            Ok(Event::Eof) => return None,
            Ok(_) => {}
            Err(error) => return Some(format!("{error} before byte {}", reader.error_position())),
        }
    }
}

/// `Properties.load` takes any text but a bad `\uXXXX`.
fn properties(content: &str) -> Option<String> {
    for (n, line) in content.lines().enumerate() {
        if line.trim_start().starts_with(['#', '!']) {
            continue;
        }
        let mut rest = line;
        while let Some(at) = rest.find('\\') {
            let escaped = &rest[at + 1..];
            if let Some(digits) = escaped.strip_prefix('u') {
                let four = digits.get(..4).is_some_and(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
                if !four {
                    return Some(format!("line {}: \\u needs four hex digits", n + 1));
                }
            }
            let next = escaped.chars().next().map_or(0, char::len_utf8);
            rest = &escaped[next..];
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_has_its_syntax() {
        use ConfigType::{Html, Json, Properties, Text, Toml, Unset, Xml, Yaml};
        for (kind, content, valid) in [
            (Json, r#"{"a":[1,2]}"#, true),
            (Json, r#"{"a":[1,2}"#, false),
            (Json, "", false),
            (Yaml, "a: 1\nb:\n  - x\n", true),
            (Yaml, "a: [1, 2", false),
            (Yaml, "a: 1\n\tb: 2", false),
            (Xml, "<?xml version=\"1.0\"?><a><b/>x</a>\n", true),
            (Xml, "<a><b></a>", false),
            (Xml, "<a>", false),
            (Xml, "<a/><b/>", false),
            (Xml, "x<a/>", false),
            (Toml, "a = 1\n[b]\nc = \"x\"\n", true),
            (Toml, "a = ", false),
            (Properties, "a=b\nc:d \\u4e2d\\\n  e\n# \\uzz", true),
            (Properties, "a=\\u4e2", false),
            (Properties, "a=\\\\uzz\n中\\文", true),
            (Html, "<p>", true),
            (Text, "{", true),
            (Unset, "{", true),
        ] {
            assert_eq!(
                check(kind, content).is_none(),
                valid,
                "{kind:?} {content:?}: {:?}",
                check(kind, content)
            );
        }
    }

    #[test]
    fn deep_nesting_is_no_danger() {
        let deep = |open: &str, close: &str| open.repeat(100_000) + &close.repeat(100_000);
        for (kind, content) in [
            (ConfigType::Json, deep("[", "]")),
            (ConfigType::Yaml, deep("[", "]")),
            (ConfigType::Xml, deep("<a>", "</a>")),
            (ConfigType::Toml, format!("a = {}", deep("[", "]"))),
        ] {
            let _ = check(kind, &content);
        }
    }
}
