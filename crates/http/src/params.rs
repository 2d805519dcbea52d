//! The parameters of a request. The query and the form are decoded in one pass into a fixed set of slots.
//!
//! There is no map: a name that no route knows is skipped without a copy, and all decoded values share one buffer. As
//! in the servlet API, a parameter may be in the query or in the form of the body, and the first occurrence counts.

use std::net::IpAddr;

use bytes::Bytes;
use encoding_rs::Encoding;
use http::HeaderMap;

use crate::multipart::Multipart;
use dyad_app::{Caller, Means};
use dyad_push::udp::Asker;

/// Declares the parameters that any route reads.
macro_rules! keys {
    ($($variant:ident = $name:literal),+ $(,)?) => {
        /// A parameter name that some route reads.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Key { $($variant),+ }

        const KEYS: usize = NAMES.len();
        const NAMES: &[&str] = &[$($name),+];
        const ALL: &[Key] = &[$(Key::$variant),+];

        impl Key {
            pub fn name(self) -> &'static str {
                NAMES[self as usize]
            }

            fn of(name: &[u8]) -> Option<Key> {
                let found = BY_LEN.get(name.len())?.iter().map_while(|&at| NAMES.get(at as usize).zip(Some(at)));
                let at = found.filter(|(known, _)| known.as_bytes() == name).map(|(_, at)| at).next()?;
                ALL.get(at as usize).copied()
            }
        }
    };
}

keys! {
    ServiceName = "serviceName",
    NamespaceId = "namespaceId",
    GroupName = "groupName",
    Ip = "ip",
    Port = "port",
    ClusterName = "clusterName",
    Beat = "beat",
    Weight = "weight",
    Metadata = "metadata",
    Healthy = "healthy",
    Enabled = "enabled",
    Enable = "enable",
    Ephemeral = "ephemeral",
    Cluster = "cluster",
    Clusters = "clusters",
    HealthyOnly = "healthyOnly",
    UdpPort = "udpPort",
    ProtectThreshold = "protectThreshold",
    Selector = "selector",
    PageNo = "pageNo",
    PageSize = "pageSize",
    Entry = "entry",
    Value = "value",
    Debug = "debug",
    OnlyStatus = "onlyStatus",
    Keyword = "keyword",
    Cp = "cp",
    CheckPort = "checkPort",
    ServiceNameParam = "serviceNameParam",
    GroupNameParam = "groupNameParam",
    App = "app",
    Aggregation = "aggregation",
    DataId = "dataId",
    Group = "group",
    Tenant = "tenant",
    Namespace = "namespace",
    Content = "content",
    Tag = "tag",
    AppName = "appName",
    SrcUser = "srcUser",
    SrcUserV1 = "src_user",
    ConfigTags = "configTags",
    ConfigTagsV1 = "config_tags",
    Desc = "desc",
    Use = "use",
    Effect = "effect",
    Type = "type",
    Types = "types",
    Schema = "schema",
    EncryptedDataKey = "encryptedDataKey",
    Show = "show",
    Search = "search",
    Beta = "beta",
    DelType = "delType",
    Ids = "ids",
    Export = "export",
    ExportV2 = "exportV2",
    Import = "import",
    Clone = "clone",
    Policy = "policy",
    ConfigDetail = "configDetail",
    ConfigDetailV1 = "config_detail",
    Nid = "nid",
    Id = "id",
    Quota = "quota",
    MaxSize = "maxSize",
    MaxAggrCount = "maxAggrCount",
    MaxAggrSize = "maxAggrSize",
    CustomNamespaceId = "customNamespaceId",
    TargetNamespaceId = "targetNamespaceId",
    NamespaceName = "namespaceName",
    NamespaceShowName = "namespaceShowName",
    NamespaceDesc = "namespaceDesc",
    CheckNamespaceIdExist = "checkNamespaceIdExist",
    GrayName = "grayName",
    GrayRuleExp = "grayRuleExp",
    GrayVersion = "grayVersion",
    GrayPriority = "grayPriority",
    Force = "force",
    Reason = "reason",
    Consistent = "consistent",
    From = "from",
    To = "to",
    ListeningConfigs = "Listening-Configs",
    All = "all",
    Username = "username",
    Password = "password",
}

/// Longest name of a parameter.
const NAME_MAX: usize = 24;
/// Most names of one length.
const SAME_LEN_MAX: usize = 16;
/// No key has this number.
const NO_KEY: u8 = u8::MAX;

/// The keys by the length of their names: a name is compared with the few that have its length.
static BY_LEN: [[u8; SAME_LEN_MAX]; NAME_MAX + 1] = by_len();

const fn by_len() -> [[u8; SAME_LEN_MAX]; NAME_MAX + 1] {
    let mut table = [[NO_KEY; SAME_LEN_MAX]; NAME_MAX + 1];
    let mut key = 0;
    while key < KEYS {
        let row = &mut table[NAMES[key].len()];
        let mut place = 0;
        while row[place] != NO_KEY {
            place += 1;
        }
        row[place] = key as u8;
        key += 1;
    }
    table
}

/// Where a value lies in the buffer; `start` of `ABSENT` means that the request has no such parameter.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u32,
    len: u32,
}

const ABSENT: Slot = Slot { start: u32::MAX, len: 0 };

/// The decoded parameters of one request.
#[derive(Clone, Debug)]
pub struct Params {
    text: String,
    slots: [Slot; KEYS],
    /// The first parameter that is not UTF-8, and the number of its bytes that are UTF-8.
    damaged: Option<(Key, usize)>,
    /// Who asks, when the request names a UDP port to be pushed to.
    pub(crate) asker: Option<Asker>,
    /// The rest of the request.
    pub(crate) rest: Rest,
}

/// What a request carries beside its parameters.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rest {
    pub(crate) headers: HeaderMap,
    /// The other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// A body that is no form, as it came.
    pub(crate) body: Bytes,
    /// The file of a multipart body.
    pub(crate) file: Option<Bytes>,
}

impl Rest {
    /// A header's trimmed value; `None` when it is absent, blank or no text.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let value = std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok()?.trim();
        if value.is_empty() { None } else { Some(value) }
    }
}

/// The header that asks for a linearizable read. A client that cannot add a parameter may be able to add a header.
const CONSISTENT: &str = "dyad-consistent";

impl Params {
    /// Decodes the query and, if the request has one, the form of the body. Because of their limits both are far
    /// smaller than 4 GiB.
    pub fn parse(query: &str, form: &[u8]) -> Params {
        Params::read(query, form, &Multipart::default(), None)
    }

    /// The same, with the fields of a multipart body. A value that is not UTF-8 is read in `charset`, if the request names
    /// one.
    pub(crate) fn read(
        query: &str,
        form: &[u8],
        parts: &Multipart,
        charset: Option<&'static Encoding>,
    ) -> Params {
        let mut slots = [ABSENT; KEYS];
        let mut bytes = Vec::with_capacity(query.len() + form.len());
        scan(query.as_bytes(), &mut slots, &mut bytes);
        scan(form, &mut slots, &mut bytes);
        for (name, value) in parts.fields() {
            put(name.as_bytes(), &mut slots, &mut bytes, |out| out.extend_from_slice(value));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Params { text, slots, damaged: None, asker: None, rest: Rest::default() },
            Err(bad) => lossy(bad.as_bytes(), slots, charset),
        }
    }

    /// Is a linearizable read asked for, by `consistent=true` or the header of the same meaning?
    pub(crate) fn consistent(&self) -> bool {
        self.get(Key::Consistent).or_else(|| self.rest.header(CONSISTENT)) == Some("true")
    }

    /// The trimmed value. `None` if it is absent or blank, as in `WebUtils.optional`.
    pub fn get(&self, key: Key) -> Option<&str> {
        let value = self.raw(key)?.trim();
        if value.is_empty() { None } else { Some(value) }
    }

    /// The value as it was sent, even if it is empty.
    pub fn raw(&self, key: Key) -> Option<&str> {
        let slot = self.slots[key as usize];
        if slot.start == ABSENT.start {
            return None;
        }
        Some(&self.text[slot.start as usize..(slot.start + slot.len) as usize])
    }

    /// A parameter that was not UTF-8, and at which byte: its value has replacement characters.
    pub(crate) fn damaged(&self) -> Option<(Key, usize)> {
        self.damaged
    }

    /// Who asks. No header tells it.
    pub(crate) fn caller(&self) -> Caller {
        Caller { name: None, address: self.rest.peer, means: Means::Http }
    }

    /// The value of a name or, if that has none, of its alias.
    pub fn either(&self, key: Key, alias: Key) -> Option<&str> {
        self.get(key).or_else(|| self.get(alias))
    }
}

fn scan(input: &[u8], slots: &mut [Slot; KEYS], out: &mut Vec<u8>) {
    for pair in input.split(|&b| b == b'&') {
        let equals = pair.iter().position(|&b| b == b'=');
        let (name, value) = match equals {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &pair[pair.len()..]),
        };
        put(name, slots, out, |out| decode(value, out));
    }
}

/// Adds a value, unless no route reads the name or an earlier one has it.
fn put(name: &[u8], slots: &mut [Slot; KEYS], out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let Some(key) = Key::of(name).or_else(|| encoded_key(name)) else { return };
    let slot = &mut slots[key as usize];
    if slot.start != ABSENT.start {
        return;
    }
    let start = out.len();
    write(out);
    *slot = Slot { start: start as u32, len: (out.len() - start) as u32 };
}

/// A name that was itself percent-encoded: rare, so it pays with an allocation.
fn encoded_key(name: &[u8]) -> Option<Key> {
    if !name.contains(&b'%') {
        return None;
    }
    let mut plain = Vec::with_capacity(name.len());
    decode(name, &mut plain);
    Key::of(&plain)
}

/// `application/x-www-form-urlencoded` decoding. A `%` without two hex digits stays as it is.
fn decode(mut value: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = value.iter().position(|&b| b == b'%' || b == b'+') {
        out.extend_from_slice(&value[..at]);
        value = &value[at..];
        match value {
            [b'%', high, low, rest @ ..] if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or(0) << 4 | hex(*low).unwrap_or(0));
                value = rest;
            }
            [b'+', rest @ ..] => {
                out.push(b' ');
                value = rest;
            }
            [byte, rest @ ..] => {
                out.push(*byte);
                value = rest;
            }
            [] => {}
        }
    }
    out.extend_from_slice(value);
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// Values that are not UTF-8 are read in the request's charset; without one, or where it does not fit, they get replacement
/// characters, as Java's decoder puts them. Valid UTF-8 stays what it is, whatever the label says.
fn lossy(bytes: &[u8], mut slots: [Slot; KEYS], charset: Option<&'static Encoding>) -> Params {
    let mut text = String::with_capacity(bytes.len());
    let mut damaged = None;
    for (key, slot) in ALL.iter().zip(&mut slots).filter(|(_, slot)| slot.start != ABSENT.start) {
        let value = &bytes[slot.start as usize..(slot.start + slot.len) as usize];
        let start = text.len();
        if let Err(error) = std::str::from_utf8(value) {
            match charset
                .and_then(|charset| charset.decode_without_bom_handling_and_without_replacement(value))
            {
                Some(decoded) => text.push_str(&decoded),
                None => {
                    damaged.get_or_insert((*key, error.valid_up_to()));
                    text.push_str(&String::from_utf8_lossy(value));
                }
            }
        } else {
            text.push_str(&String::from_utf8_lossy(value));
        }
        *slot = Slot { start: start as u32, len: (text.len() - start) as u32 };
    }
    Params { text, slots, damaged, asker: None, rest: Rest::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_and_form_are_one_set_and_the_first_occurrence_counts() {
        let params = Params::parse(
            "ip=10.0.0.1&x=%zz&ip=2&serviceName=a%40%40b",
            b"port=80&ip=3&beat=%7B%22a%22%3A+1%7D",
        );
        assert_eq!(params.get(Key::Ip), Some("10.0.0.1"));
        assert_eq!(params.get(Key::ServiceName), Some("a@@b"));
        assert_eq!(params.get(Key::Port), Some("80"));
        assert_eq!(params.get(Key::Beat), Some("{\"a\": 1}"));
        assert_eq!(params.get(Key::Weight), None);
    }

    #[test]
    fn a_charset_is_for_values_that_are_not_utf_8() {
        let gbk = Encoding::for_label(b"GBK");
        let form = b"dataId=%D6%D0&group=%E4%B8%AD&content=%ff%ff";
        let params = Params::read("", form, &Multipart::default(), gbk);
        let (chinese, replaced) = (Some("\u{4e2d}"), Some("\u{fffd}\u{fffd}"));
        assert_eq!((params.get(Key::DataId), params.get(Key::Group)), (chinese, chinese));
        assert_eq!((params.get(Key::Content), params.damaged()), (replaced, Some((Key::Content, 0))));
        assert_eq!(Params::parse("", form).damaged(), Some((Key::DataId, 0)));
    }

    #[test]
    fn blank_values_are_absent_for_get_and_present_for_raw() {
        let params = Params::parse("ip=&port=+++&weight&cluster=%09a%20", b"");
        assert_eq!((params.raw(Key::Ip), params.get(Key::Ip)), (Some(""), None));
        assert_eq!((params.raw(Key::Port), params.get(Key::Port)), (Some("   "), None));
        assert_eq!((params.raw(Key::Weight), params.get(Key::Weight)), (Some(""), None));
        assert_eq!(params.get(Key::Cluster), Some("a"));
    }

    #[test]
    fn odd_encodings_neither_panic_nor_shift_other_values() {
        for (query, want) in [
            ("ip=%", "%"),
            ("ip=%4", "%4"),
            ("ip=%zz1", "%zz1"),
            ("%69%70=1", "1"),
            ("ip=%ff%41", "\u{fffd}A"),
            ("ip==a=b", "=a=b"),
            ("&&ip=1&&", "1"),
        ] {
            let params = Params::parse(query, b"port=80&cluster=%e4%b8%ad");
            assert_eq!(params.get(Key::Ip), Some(want), "{query}");
            assert_eq!(
                (params.get(Key::Port), params.get(Key::Cluster)),
                (Some("80"), Some("中")),
                "{query}"
            );
        }
    }
}
