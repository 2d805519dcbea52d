//! Reads the JSON in requests: metadata (`UtilsAndCommons.parseMetadata`) and heartbeats (`RsInfo`).

use std::borrow::Cow;
use std::fmt;

use dyad_types::Metadata;
use dyad_types::metadata::Entry;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};

use crate::fault::Fault;
use crate::json::{Scalar, counted};

/// Entries of one metadata. The characters of all of them together have a limit that is far lower, unless a setting raises it.
const ENTRIES_MAX: usize = 10_000;

/// Reads metadata, which is a JSON object of scalars, or `k=v,k2=v2`. Numbers and booleans become strings; `null` stays.
///
/// # Errors
/// [`Fault::Metadata`] if the text is neither.
pub fn parse_metadata(text: &str) -> Result<Metadata, Fault> {
    if text.trim().is_empty() {
        return Ok(Metadata::default());
    }
    if let Ok(JsonMetadata(metadata)) = serde_json::from_str(text) {
        return Ok(metadata);
    }
    let wrong = || Fault::Metadata(text.to_owned());
    // Java's split drops empty pieces at the end.
    let pairs = text.trim_end_matches(',').split(',');
    let entry = |pair: &str| -> Result<Entry, Fault> {
        match pair.split_once('=') {
            Some((key, value)) if !value.is_empty() && !value.contains('=') => {
                Ok((key.into(), Some(value.into())))
            }
            _ => Err(wrong()),
        }
    };
    pairs.map(entry).collect()
}

/// A JSON object of scalars.
#[derive(Debug, Default)]
pub struct JsonMetadata(pub Metadata);

impl<'de> Deserialize<'de> for JsonMetadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<JsonMetadata, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = JsonMetadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<JsonMetadata, A::Error> {
                let mut entries: Vec<Entry> = Vec::new();
                while let Some((key, Scalar(value))) = map.next_entry::<Cow<'de, str>, Scalar>()? {
                    counted(entries.len(), ENTRIES_MAX)?;
                    entries.push((key.into(), value));
                }
                Ok(JsonMetadata(entries.into_iter().collect()))
            }

            fn visit_unit<E: de::Error>(self) -> Result<JsonMetadata, E> {
                Ok(JsonMetadata::default())
            }

            /// PHP makes an empty list of an empty object.
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut list: A) -> Result<JsonMetadata, A::Error> {
                match list.next_element::<de::IgnoredAny>()? {
                    None => Ok(JsonMetadata::default()),
                    Some(_) => Err(de::Error::invalid_type(de::Unexpected::Seq, &self)),
                }
            }

            /// Some clients send the object as a string in the beat.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<JsonMetadata, E> {
                parse_metadata(text).map(JsonMetadata).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// The part of a heartbeat that identifies the instance. A heartbeat of a known instance needs nothing else.
#[derive(Debug, serde::Deserialize)]
pub struct BeatAddress<'a> {
    #[serde(borrow, default)]
    pub ip: Cow<'a, str>,
    #[serde(default, deserialize_with = "lenient")]
    pub port: f64,
}

/// The whole heartbeat (`RsInfo`), which is read if it has to register its instance. Figures about the load are ignored.
#[derive(Debug, serde::Deserialize)]
pub struct FullBeat<'a> {
    #[serde(borrow, default)]
    pub ip: Cow<'a, str>,
    #[serde(default, deserialize_with = "lenient")]
    pub port: f64,
    #[serde(borrow, default)]
    pub cluster: Option<Cow<'a, str>>,
    /// The weight. It is 1 if the client sends none, as in a registration.
    #[serde(default = "one", deserialize_with = "lenient")]
    pub weight: f64,
    #[serde(default, deserialize_with = "metadata")]
    pub metadata: Metadata,
}

/// Reads a heartbeat.
///
/// # Errors
/// The text is not a heartbeat. The answer is 400 with what is wrong, where Nacos answers 500.
pub fn parse_beat<'a, T: serde::Deserialize<'a>>(text: &'a str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|error| Fault::Invalid(format!("beat format incorrect: {error}")))
}

fn one() -> f64 {
    1.0
}

fn metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Metadata, D::Error> {
    JsonMetadata::deserialize(deserializer).map(|JsonMetadata(metadata)| metadata)
}

/// A number, also in a string, as Jackson reads it; `null` is 0.
fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Scalar::deserialize(deserializer)?.0.as_deref().map(str::trim) {
        None | Some("") => Ok(0.0),
        Some(text) => text.parse().map_err(|_| de::Error::custom(format_args!("{text:?} is no number"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<(String, Option<String>)> {
        let metadata = parse_metadata(text).unwrap();
        metadata.iter().map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).collect()
    }

    #[test]
    fn json_scalars_become_strings_and_null_stays() {
        let want = [("a", Some("1")), ("b", Some("true")), ("c", None), ("d", Some("1.5")), ("e", Some("x"))];
        let want: Vec<_> = want.map(|(k, v)| (k.to_owned(), v.map(str::to_owned))).into();
        assert_eq!(entries(r#"{"a":1,"b":true,"c":null,"d":1.5,"e":"x"}"#), want);
        assert_eq!(entries("{}"), []);
        assert_eq!(entries("  "), []);
        assert_eq!(entries("a=1,b=2,"), [("a".into(), Some("1".into())), ("b".into(), Some("2".into()))]);
    }

    #[test]
    fn what_is_neither_json_nor_pairs_is_refused_with_its_text() {
        for bad in ["abc", "{\"a\":", r#"{"a":{"b":1}}"#, "[1]", "a=b=c", "a=", "a=1,,b=2", "=", ","] {
            assert_eq!(parse_metadata(bad).unwrap_err(), Fault::Metadata(bad.into()), "{bad}");
        }
    }

    #[test]
    fn beats_of_all_clients_are_read() {
        let text =
            r#"{"cluster":"c1","ip":"10.0.0.1","metadata":{"m":"1"},"period":5000,"port":8080,"weight":2.0}"#;
        let beat: FullBeat<'_> = parse_beat(text).unwrap();
        assert_eq!(
            (&*beat.ip, beat.port, beat.weight, beat.cluster.as_deref()),
            ("10.0.0.1", 8080.0, 2.0, Some("c1"))
        );
        assert_eq!(beat.metadata.get("m"), Some("1"));
        let python: FullBeat<'_> =
            parse_beat(r#"{"ip":"a","port":"80","weight":"1","metadata":"{\"k\":1}"}"#).unwrap();
        assert_eq!((python.port, python.metadata.get("k")), (80.0, Some("1")));
        for bad in ["{bad", "1", r#"{"port":"x"}"#, r#"{"port":{}}"#, r#"{"metadata":[1]}"#] {
            assert!(parse_beat::<FullBeat<'_>>(bad).is_err(), "{bad}");
        }
    }
}
