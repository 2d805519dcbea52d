//! The rules of the configuration parameters (`ParamUtils`): lengths and characters, with Nacos's messages.
//!
//! Handlers check these rules after the parameter check of [`crate::check`]. The rules are less strict in places:
//! letters of any script are accepted here. As in Java, lengths are counted in UTF-16 units.

use std::fmt;

/// Characters of a content (`maxContent`).
pub const CONTENT_MAX: usize = 10 * 1024 * 1024;
/// Characters of the tag of a gray release.
pub const TAG_MAX: usize = 16;
/// Characters of a namespace id.
pub const TENANT_MAX: usize = 128;
/// Tags of one configuration.
pub const CONFIG_TAGS_MAX: usize = 5;
/// Characters of one tag of a configuration.
pub const CONFIG_TAG_MAX: usize = 64;
/// Characters of a description.
pub const DESC_MAX: usize = 128;
/// Characters of `use`.
pub const USE_MAX: usize = 32;
/// Characters of `effect`.
pub const EFFECT_MAX: usize = 32;
/// Characters of a type's name.
pub const TYPE_MAX: usize = 32;
/// Characters of a schema.
pub const SCHEMA_MAX: usize = 32_768;
/// Characters of an application's name (the column's width).
pub const APP_NAME_MAX: usize = 128;
/// Characters of an encrypted data key (the column's width).
pub const ENCRYPTED_DATA_KEY_MAX: usize = 1024;

/// The values of a request. A value that is `None` is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConfigInput<'a> {
    pub data_id: Option<&'a str>,
    pub group: Option<&'a str>,
    pub content: Option<&'a str>,
    /// The tag of a gray release. A blank text means no tag.
    pub tag: Option<&'a str>,
    /// The id of the namespace. A blank text means the default namespace.
    pub tenant: Option<&'a str>,
    /// The tags of the configuration, as a comma-separated list.
    pub config_tags: Option<&'a str>,
    pub desc: Option<&'a str>,
    pub used_for: Option<&'a str>,
    pub effect: Option<&'a str>,
    pub kind: Option<&'a str>,
    pub schema: Option<&'a str>,
    pub app_name: Option<&'a str>,
    pub encrypted_data_key: Option<&'a str>,
}

/// A rejected parameter. Its text is the message of Nacos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigFault {
    /// The value is blank, is `.` or `..`, or has a character other than letters, digits and `_ - . :`.
    Invalid {
        field: &'static str,
        value: String,
    },
    ContentBlank,
    /// The content has more characters than this.
    ContentLong(usize),
    /// The value of `field` has more than `max` characters.
    TooLong {
        field: &'static str,
        max: usize,
    },
    /// There are more tags than this.
    TooMuchTags(usize),
    /// The value of `field` has a control character, such as a line break. Nacos accepts it; no header of an answer can carry it.
    Control {
        field: &'static str,
    },
}

/// Checks every value of `input` in the order of Nacos. `tenant_name` is what the error calls the namespace: `tenant` in v1,
/// `namespaceId` in v2 and v3.
///
/// # Errors
/// The first rule that a value breaks.
pub fn check_config(input: &ConfigInput<'_>, tenant_name: &'static str) -> Result<(), ConfigFault> {
    if let Some(data_id) = input.data_id {
        name("dataId", data_id)?;
    }
    if let Some(group) = input.group {
        name("group", group)?;
    }
    if let Some(content) = input.content {
        check_content(content)?;
    }
    if let Some(tag) = input.tag.filter(|t| !t.trim().is_empty()) {
        word("tag", tag.trim())?;
        long("tag", tag, TAG_MAX)?;
    }
    if let Some(tenant) = input.tenant.filter(|t| !t.trim().is_empty()) {
        word(tenant_name, tenant.trim())?;
        long(tenant_name, tenant, TENANT_MAX)?;
    }
    if let Some(tags) = input.config_tags {
        let mut tags = tags.split(',').filter(|t| !t.is_empty());
        // They are counted first, as in Nacos, and without a list of them: a request can have millions.
        if tags.clone().nth(CONFIG_TAGS_MAX).is_some() {
            return Err(ConfigFault::TooMuchTags(CONFIG_TAGS_MAX));
        }
        tags.try_for_each(|tag| long("tag", tag, CONFIG_TAG_MAX))?;
    }
    for (field, value, max) in [
        ("desc", input.desc, DESC_MAX),
        ("use", input.used_for, USE_MAX),
        ("effect", input.effect, EFFECT_MAX),
        ("type", input.kind, TYPE_MAX),
        ("schema", input.schema, SCHEMA_MAX),
        ("appName", input.app_name, APP_NAME_MAX),
        ("encryptedDataKey", input.encrypted_data_key, ENCRYPTED_DATA_KEY_MAX),
    ] {
        long(field, value.unwrap_or_default(), max)?;
    }
    let controlled = |text: Option<&str>| text.unwrap_or_default().contains(char::is_control);
    for (field, is_controlled) in [
        // The space around a tag or a name is not kept.
        (
            "config_tags",
            input.config_tags.is_some_and(|tags| tags.split(',').any(|tag| controlled(Some(tag.trim())))),
        ),
        ("appName", controlled(input.app_name.map(str::trim))),
        ("encryptedDataKey", controlled(input.encrypted_data_key)),
    ] {
        if is_controlled {
            return Err(ConfigFault::Control { field });
        }
    }
    Ok(())
}

/// Checks a content: it is not blank and has at most [`CONTENT_MAX`] characters.
///
/// # Errors
/// The content is blank or longer.
pub fn check_content(content: &str) -> Result<(), ConfigFault> {
    if content.trim().is_empty() {
        return Err(ConfigFault::ContentBlank);
    }
    if longer(content, CONTENT_MAX) {
        return Err(ConfigFault::ContentLong(CONTENT_MAX));
    }
    Ok(())
}

/// Whether every character is a letter or digit of any script, or one of `_ - . :` (`ParamUtils.isValid`). Java looks at UTF-16
/// units, so characters outside the basic plane are refused.
pub fn is_config_word(text: &str) -> bool {
    text.chars()
        .all(|c| matches!(c, '_' | '-' | '.' | ':') || (c.is_alphanumeric() && u32::from(c) <= 0xffff))
}

fn word(field: &'static str, value: &str) -> Result<(), ConfigFault> {
    if value.trim().is_empty() || !is_config_word(value) {
        return Err(ConfigFault::Invalid { field, value: value.to_owned() });
    }
    Ok(())
}

/// Checks a word that must not be `.` or `..`, since archives call their entries `group/dataId`. Nacos accepts both.
fn name(field: &'static str, value: &str) -> Result<(), ConfigFault> {
    word(field, value)?;
    if matches!(value, "." | "..") {
        return Err(ConfigFault::Invalid { field, value: value.to_owned() });
    }
    Ok(())
}

fn long(field: &'static str, value: &str, max: usize) -> Result<(), ConfigFault> {
    if longer(value, max) { Err(ConfigFault::TooLong { field, max }) } else { Ok(()) }
}

/// Whether `value` has more than `max` UTF-16 units. They are counted only if the number of bytes does not decide it.
fn longer(value: &str, max: usize) -> bool {
    value.len() > max && value.encode_utf16().count() > max
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigFault::Invalid { field: field @ ("tenant" | "namespaceId"), .. } => {
                write!(f, "invalid {field}")
            }
            ConfigFault::Invalid { field, value } => write!(f, "invalid {field} : {value}"),
            ConfigFault::ContentBlank => f.write_str("content is blank : "),
            ConfigFault::ContentLong(max) => write!(f, "invalid content, over {max}"),
            ConfigFault::TooLong { field, max } => write!(f, "too long {field}, over {max}"),
            ConfigFault::Control { field } => write!(f, "invalid {field}, it has a control character"),
            ConfigFault::TooMuchTags(max) => write!(f, "too much config_tags, over {max}"),
        }
    }
}

impl std::error::Error for ConfigFault {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(input: ConfigInput<'_>) -> String {
        check_config(&input, "tenant").err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_rule_has_nacoss_message() {
        let none = ConfigInput::default();
        let long = "a".repeat(SCHEMA_MAX + 1);
        let table: &[(ConfigInput<'_>, &str)] = &[
            (ConfigInput { data_id: Some("a.b:c-d_E9"), ..none }, ""),
            (ConfigInput { data_id: Some("数据"), ..none }, ""),
            (ConfigInput { data_id: Some("a/b"), ..none }, "invalid dataId : a/b"),
            (ConfigInput { data_id: Some("𝒳"), ..none }, "invalid dataId : 𝒳"),
            (ConfigInput { data_id: Some(" "), ..none }, "invalid dataId :  "),
            (ConfigInput { data_id: Some("..."), ..none }, ""),
            (ConfigInput { data_id: Some(".."), ..none }, "invalid dataId : .."),
            (ConfigInput { group: Some("."), ..none }, "invalid group : ."),
            (ConfigInput { group: Some(""), ..none }, "invalid group : "),
            (ConfigInput { group: Some("a b"), ..none }, "invalid group : a b"),
            (ConfigInput { content: Some(" \n"), ..none }, "content is blank : "),
            (ConfigInput { tag: Some(""), ..none }, ""),
            (ConfigInput { tag: Some("a b"), ..none }, "invalid tag : a b"),
            (ConfigInput { tag: Some(&long[..17]), ..none }, "too long tag, over 16"),
            (ConfigInput { tenant: Some(" "), ..none }, ""),
            (ConfigInput { tenant: Some("a,b"), ..none }, "invalid tenant"),
            (ConfigInput { tenant: Some(&long[..129]), ..none }, "too long tenant, over 128"),
            (ConfigInput { config_tags: Some("bad tag,x"), ..none }, ""),
            (ConfigInput { config_tags: Some("a,b,c,d,e,f"), ..none }, "too much config_tags, over 5"),
            (ConfigInput { config_tags: Some(&long[..65]), ..none }, "too long tag, over 64"),
            (ConfigInput { desc: Some(&long[..128]), ..none }, ""),
            (ConfigInput { desc: Some(&long[..129]), ..none }, "too long desc, over 128"),
            (ConfigInput { used_for: Some(&long[..33]), ..none }, "too long use, over 32"),
            (ConfigInput { effect: Some(&long[..33]), ..none }, "too long effect, over 32"),
            (ConfigInput { kind: Some(&long[..33]), ..none }, "too long type, over 32"),
            (ConfigInput { schema: Some(&long), ..none }, "too long schema, over 32768"),
            (ConfigInput { schema: Some("a\nb"), desc: Some("a\tb"), ..none }, ""),
            (ConfigInput { app_name: Some("数 据"), encrypted_data_key: Some("a=/+"), ..none }, ""),
            (
                ConfigInput { encrypted_data_key: Some("a\r\nX: y"), ..none },
                "invalid encryptedDataKey, it has a control character",
            ),
            (ConfigInput { app_name: Some("a\u{1}"), ..none }, "invalid appName, it has a control character"),
            (
                ConfigInput { config_tags: Some("a,b\u{7f}"), ..none },
                "invalid config_tags, it has a control character",
            ),
            (ConfigInput { config_tags: Some("a,\tb\n"), app_name: Some("a\n"), ..none }, ""),
        ];
        for (input, want) in table {
            assert_eq!(text(*input), *want, "{input:?}");
        }
    }

    #[test]
    fn a_content_is_measured_in_characters() {
        assert_eq!(check_content(&"中".repeat(CONTENT_MAX)), Ok(()));
        let over = check_content(&"a".repeat(CONTENT_MAX + 1)).unwrap_err();
        assert_eq!(over.to_string(), "invalid content, over 10485760");
    }
}
