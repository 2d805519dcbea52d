//! What is published: a content with its md5, its type and its other texts, and the number that the publish gets.

use std::fmt;
use std::sync::{Arc, Weak};

use dyad_types::Md5;

/// The number of one write: the log index × 1024 plus the position in the command. It is the key of the content's row
/// in the store, the number of the entry in the history (`nid`), and the `id` of a configuration that the write
/// created. A larger number is newer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl Revision {
    /// The number of writes for which one log entry has room.
    pub const POSITIONS: u64 = 1024;

    pub fn new(index: u64, position: usize) -> Revision {
        Revision(index.saturating_mul(Revision::POSITIONS).saturating_add(position as u64))
    }

    /// The log index of the entry that made it.
    pub fn index(self) -> u64 {
        self.0 / Revision::POSITIONS
    }

    /// The key of its row. It is big-endian, so the order of the keys is the order of the writes.
    pub fn to_key(self) -> [u8; 8] {
        self.0.to_be_bytes()
    }

    /// The inverse of [`Revision::to_key`]; `None` for a key of another length.
    pub fn from_key(key: &[u8]) -> Option<Revision> {
        key.try_into().ok().map(|bytes| Revision(u64::from_be_bytes(bytes)))
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A content and its md5. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Content {
    shared: Arc<Shared>,
    md5: Md5,
}

/// A [`WeakContent`] refers to this and not to the text: the memory of what it refers to stays until it is dropped, and a text
/// has up to 10 MiB.
#[derive(PartialEq, Eq)]
struct Shared(Arc<str>);

impl Content {
    /// Makes a content and takes the md5 of the text. This costs 2 ms per MiB, so the proposer does it, and `apply` never does.
    pub fn new(text: impl Into<Arc<str>>) -> Content {
        let text = text.into();
        let md5 = Md5::of(text.as_bytes());
        Content { shared: Arc::new(Shared(text)), md5 }
    }

    /// A content whose md5 is known already, as in a stored record.
    pub(crate) fn known(text: String, md5: Md5) -> Content {
        Content { shared: Arc::new(Shared(text.into())), md5 }
    }

    /// A handle by which this content can be found again while somebody holds it.
    pub fn downgrade(&self) -> WeakContent {
        WeakContent { shared: Arc::downgrade(&self.shared), md5: self.md5 }
    }

    pub fn text(&self) -> &Arc<str> {
        &self.shared.0
    }

    pub fn md5(&self) -> Md5 {
        self.md5
    }
}

/// A handle to a content that exists only as long as somebody holds the [`Content`]; to hold its text is not enough. What the
/// handle itself keeps in memory is a few bytes.
#[derive(Clone)]
pub struct WeakContent {
    shared: Weak<Shared>,
    md5: Md5,
}

impl WeakContent {
    pub fn upgrade(&self) -> Option<Content> {
        self.shared.upgrade().map(|shared| Content { shared, md5: self.md5 })
    }
}

impl fmt::Debug for WeakContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WeakContent({})", self.md5)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Content({} bytes, {})", self.text().len(), self.md5)
    }
}

/// The declared type of a content (`ConfigType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ConfigType {
    Properties = 1,
    Xml = 2,
    Json = 3,
    #[default]
    Text = 4,
    Html = 5,
    Yaml = 6,
    Toml = 7,
    Unset = 8,
}

impl ConfigType {
    const ALL: [ConfigType; 8] = [
        ConfigType::Properties,
        ConfigType::Xml,
        ConfigType::Json,
        ConfigType::Text,
        ConfigType::Html,
        ConfigType::Yaml,
        ConfigType::Toml,
        ConfigType::Unset,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            ConfigType::Properties => "properties",
            ConfigType::Xml => "xml",
            ConfigType::Json => "json",
            ConfigType::Text => "text",
            ConfigType::Html => "html",
            ConfigType::Yaml => "yaml",
            ConfigType::Toml => "toml",
            ConfigType::Unset => "unset",
        }
    }

    /// The type of this name. `None` for a name that Nacos does not know; Nacos stores such a type as `text`.
    pub fn parse(name: &str) -> Option<ConfigType> {
        ConfigType::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The type for which the extension of a data id or of a file name stands, if the extension is known.
    pub fn of_name(name: &str) -> Option<ConfigType> {
        match &*name.rsplit_once('.')?.1.to_ascii_lowercase() {
            "yml" => Some(ConfigType::Yaml),
            "htm" => Some(ConfigType::Html),
            "txt" => Some(ConfigType::Text),
            extension => ConfigType::parse(extension),
        }
    }

    /// The type for which the number in a record stands. An unknown number comes from a later version of Dyad and is
    /// shown as text.
    pub(crate) fn from_number(number: u32) -> ConfigType {
        ConfigType::ALL.into_iter().find(|kind| *kind as u32 == number).unwrap_or_default()
    }
}

/// A content with everything that is published with it. An empty text stands for null and `''` in Nacos.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    pub content: Content,
    pub kind: ConfigType,
    /// The application. `None` keeps the present one, as an update in Nacos does.
    pub app_name: Option<Box<str>>,
    /// The tags. `None` keeps the present ones.
    pub tags: Option<Box<[Box<str>]>>,
    pub desc: Box<str>,
    pub used_for: Box<str>,
    pub effect: Box<str>,
    pub schema: Box<str>,
    pub encrypted_data_key: Box<str>,
}

impl Draft {
    /// A draft of this content of type `text`, with no other texts.
    pub fn text(content: &str) -> Draft {
        Draft {
            content: Content::new(content),
            kind: ConfigType::Text,
            app_name: None,
            tags: None,
            desc: "".into(),
            used_for: "".into(),
            effect: "".into(),
            schema: "".into(),
            encrypted_data_key: "".into(),
        }
    }

    /// The bytes of all texts except the content, which [`crate::limits::EXTRA_MAX`] limits.
    pub fn extra_bytes(&self) -> usize {
        let tags = self.tags.as_deref().unwrap_or_default();
        [&self.desc, &self.used_for, &self.effect, &self.schema, &self.encrypted_data_key]
            .into_iter()
            .chain(&self.app_name)
            .chain(tags)
            .map(|text| text.len())
            .sum()
    }
}
