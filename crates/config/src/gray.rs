//! Gray rules (`model.gray`): which readers get a gray release instead of the formal one. The decision is a pure
//! function of the rule and the labels of the reader.

use std::collections::BTreeMap;

use crate::limits::{GRAY_EXPRESSION_MAX, GRAY_NAME_MAX};

/// The name of the gray release for certain addresses, and the type of its rule.
pub const BETA: &str = "beta";
const TAG: &str = "tag";
const TAG_V2: &str = "tagv2";
/// The version of the beta and tag rules.
const VERSION: &str = "1.0.0";
/// The version of the label rules.
const VERSION_V2: &str = "1.1.0";
/// The priority of a beta rule, which is above all others.
const BETA_PRIORITY: i32 = i32::MAX;
/// The priority of a tag rule, which is below beta only.
const TAG_PRIORITY: i32 = i32::MAX - 1;
/// The name of the label that has the reader's address.
const CLIENT_IP: &str = "ClientIp";
/// The name of the label that has the reader's tag.
const VIPSERVER_TAG: &str = "Vipserver-Tag";

/// The name of the gray release for a tag.
pub fn tag_gray_name(tag: &str) -> String {
    format!("tag_{tag}")
}

/// What is known of a reader, and decides which release it gets.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReaderLabels<'a> {
    /// The address of the client, as Nacos determines it.
    pub client_ip: &'a str,
    /// The parameter `tag`. It wins over the header. If no release has this tag, the reader gets no release at all.
    pub tag: Option<&'a str>,
    /// The header or connection label `Vipserver-Tag`. If no release has this tag, the reader gets the formal release.
    pub header_tag: Option<&'a str>,
    /// The labels of the reader's connection.
    pub labels: Option<&'a BTreeMap<String, String>>,
}

impl<'a> ReaderLabels<'a> {
    /// A reader of which only the address is known.
    pub fn ip(client_ip: &'a str) -> ReaderLabels<'a> {
        ReaderLabels { client_ip, ..ReaderLabels::default() }
    }

    /// The parameter `tag`, unless it is blank.
    pub(crate) fn asked_tag(&self) -> Option<&'a str> {
        self.tag.filter(|tag| !tag.trim().is_empty())
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let label = || self.labels.and_then(|labels| labels.get(name)).map(String::as_str);
        match name {
            CLIENT_IP => Some(self.client_ip),
            VIPSERVER_TAG => self.asked_tag().or(self.header_tag).or_else(label),
            _ => label(),
        }
    }
}

/// A rule, which is parsed once. Rules that were written in the same way are equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrayRule {
    expression: Box<str>,
    priority: i32,
    matcher: Matcher,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Matcher {
    /// The addresses, which are split at commas and not trimmed.
    Beta(Box<[Box<str>]>),
    Tag,
    /// Alternatives, each of which is a list of terms that must all hold.
    Labels(Box<[Box<[Term]>]>),
}

/// One label and the values that it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    label: Box<str>,
    values: Box<[Box<str>]>,
}

/// Why a gray rule was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GrayFault {
    /// The type or version is not known; code 20012.
    #[error(
        "gray rule version {version} of type {kind} is not supported; known are beta 1.0.0, tag 1.0.0, tagv2 1.1.0"
    )]
    UnknownVersion { kind: String, version: String },
    /// The rule cannot be read; code 20011.
    #[error("gray rule invalid: {0}")]
    Invalid(String),
}

impl GrayRule {
    /// The rule of a beta release, for clients with one of these addresses. They are separated by commas and compared exactly.
    ///
    /// # Errors
    /// The text is blank or too long.
    pub fn beta(ips: &str) -> Result<GrayRule, GrayFault> {
        GrayRule::parse(BETA, VERSION, ips, BETA_PRIORITY)
    }

    /// The rule of the release for a tag.
    ///
    /// # Errors
    /// The tag is blank or too long.
    pub fn tag(tag: &str) -> Result<GrayRule, GrayFault> {
        GrayRule::parse(TAG, VERSION, tag, TAG_PRIORITY)
    }

    /// A rule of any type, from the parts of Nacos's `gray_rule`. The expression of a rule over labels is like
    /// `a=v1,v2&&b=v3||c=v4`.
    ///
    /// # Errors
    /// The type or the version is unknown, or the expression is blank, too long or does not parse.
    pub fn parse(kind: &str, version: &str, expression: &str, priority: i32) -> Result<GrayRule, GrayFault> {
        if expression.trim().is_empty() {
            return Err(GrayFault::Invalid("the expression is blank".into()));
        }
        if expression.len() > GRAY_EXPRESSION_MAX {
            let len = expression.len();
            return Err(GrayFault::Invalid(format!("{len} bytes are over {GRAY_EXPRESSION_MAX}")));
        }
        let matcher = match (kind, version) {
            (BETA, VERSION) => Matcher::Beta(expression.split(',').map(Box::from).collect()),
            (TAG, VERSION) => Matcher::Tag,
            (TAG_V2, VERSION_V2) => Matcher::Labels(alternatives(expression)?),
            _ => {
                return Err(GrayFault::UnknownVersion { kind: kind.into(), version: version.into() });
            }
        };
        Ok(GrayRule { expression: expression.into(), priority, matcher })
    }

    /// `beta`, `tag` or `tagv2`.
    pub fn kind(&self) -> &'static str {
        match self.matcher {
            Matcher::Beta(_) => BETA,
            Matcher::Tag => TAG,
            Matcher::Labels(_) => TAG_V2,
        }
    }

    pub fn version(&self) -> &'static str {
        match self.matcher {
            Matcher::Beta(_) | Matcher::Tag => VERSION,
            Matcher::Labels(_) => VERSION_V2,
        }
    }

    pub fn expression(&self) -> &str {
        &self.expression
    }

    /// The priority. Rules with a larger one are checked first.
    pub fn priority(&self) -> i32 {
        self.priority
    }

    /// Whether this reader gets the release of the rule.
    pub fn matches(&self, reader: &ReaderLabels<'_>) -> bool {
        match &self.matcher {
            Matcher::Beta(ips) => ips.iter().any(|ip| **ip == *reader.client_ip),
            Matcher::Tag => reader.get(VIPSERVER_TAG) == Some(&*self.expression),
            Matcher::Labels(any) => any.iter().any(|all| {
                let holds = |term: &Term| {
                    let value = reader.get(&term.label);
                    value.is_some_and(|value| term.values.iter().any(|v| **v == *value))
                };
                all.iter().all(holds)
            }),
        }
    }
}

/// Whether a gray release may have this name: a word of at most [`GRAY_NAME_MAX`] characters.
pub(crate) fn is_gray_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= GRAY_NAME_MAX && dyad_types::config_check::is_config_word(name)
}

fn alternatives(expression: &str) -> Result<Box<[Box<[Term]>]>, GrayFault> {
    expression.split("||").map(terms).collect()
}

fn terms(alternative: &str) -> Result<Box<[Term]>, GrayFault> {
    let terms = alternative.split("&&").map(term).collect::<Result<Box<[Term]>, GrayFault>>()?;
    for (n, term) in terms.iter().enumerate() {
        if terms[..n].iter().any(|earlier| earlier.label == term.label) {
            return Err(GrayFault::Invalid(format!("label {} twice in {alternative:?}", term.label)));
        }
    }
    Ok(terms)
}

fn term(text: &str) -> Result<Term, GrayFault> {
    let wrong = || GrayFault::Invalid(format!("{text:?} is not label=value,value"));
    let (label, values) = text.split_once('=').ok_or_else(wrong)?;
    let word = |word: &str| {
        let word = word.trim();
        let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.');
        if !word.is_empty() && word.bytes().all(legal) { Ok(Box::from(word)) } else { Err(wrong()) }
    };
    Ok(Term { label: word(label)?, values: values.split(',').map(word).collect::<Result<_, _>>()? })
}
