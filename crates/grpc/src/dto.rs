//! The JSON of requests. As with Jackson, unknown fields are ignored, `null` counts as absent, and numbers may be strings.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use dyad_types::Metadata;
use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::error::GrpcError;
use dyad_app::json::{List, counted};
use dyad_app::naming::metadata::JsonMetadata;
use dyad_push::fuzzy::MATCHES_MAX;

/// Most instances of one batch.
pub(crate) const BATCH_MAX: usize = 1_000;
/// Most bytes of a request to naming. A batch of the largest publication, with every character of it escaped and fields that
/// nobody reads, has half of them.
pub(crate) const NAMING_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Keys that a client may say it knows. It was told of [`MATCHES_MAX`] at a time.
const RECEIVED_MAX: usize = 20 * MATCHES_MAX;
/// Entries of an object of texts, such as the labels of a client.
const PAIRS_MAX: usize = 1_024;

/// Every field of every naming request; each handler reads its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct NamingRequest<'a> {
    #[serde(borrow, default)]
    pub(crate) namespace: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) service_name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) group_name: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) r#type: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) instance: Option<InstanceDto<'a>>,
    #[serde(borrow, default)]
    pub(crate) instances: Option<List<InstanceDto<'a>, BATCH_MAX>>,
    #[serde(default)]
    pub(crate) subscribe: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) clusters: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) cluster: Text<'a>,
    #[serde(default)]
    pub(crate) healthy_only: Option<bool>,
    #[serde(default)]
    pub(crate) page_no: Number,
    #[serde(default)]
    pub(crate) page_size: Number,
}

impl<'a> NamingRequest<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<NamingRequest<'a>, GrpcError> {
        if body.len() > NAMING_BYTES_MAX {
            return Err(GrpcError::TooMany {
                what: "the number of bytes of a request",
                max: NAMING_BYTES_MAX,
            });
        }
        read(body)
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InstanceDto<'a> {
    #[serde(borrow, default)]
    pub(crate) instance_id: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) ip: Text<'a>,
    #[serde(default)]
    pub(crate) port: Number,
    #[serde(default)]
    pub(crate) weight: Number,
    #[serde(default)]
    pub(crate) healthy: Option<bool>,
    #[serde(default)]
    pub(crate) enabled: Option<bool>,
    #[serde(borrow, default)]
    pub(crate) cluster_name: Text<'a>,
    #[serde(default)]
    metadata: Option<JsonMetadata>,
}

impl InstanceDto<'_> {
    pub(crate) fn metadata(&self) -> Metadata {
        self.metadata.as_ref().map(|metadata| metadata.0.clone()).unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchRequest<'a> {
    #[serde(borrow, default)]
    pub(crate) group_key_pattern: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) watch_type: Text<'a>,
    #[serde(borrow, default)]
    pub(crate) received_group_keys: Option<List<Text<'a>, RECEIVED_MAX>>,
    #[serde(default)]
    pub(crate) initializing: Option<bool>,
}

/// Reads a request.
///
/// # Errors
/// [`GrpcError::Malformed`] for what is no JSON of a request; a field that cannot be read is named.
pub(crate) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, GrpcError> {
    serde_json::from_slice(body).map_err(|error| {
        // Only what failed is read again, for the path to the field.
        let mut deserializer = serde_json::Deserializer::from_slice(body);
        let field = serde_path_to_error::deserialize::<_, T>(&mut deserializer).err();
        match field.map(|error| error.path().to_string()).filter(|path| path != "." && !path.contains('?')) {
            Some(path) => GrpcError::BadField { path, why: error.to_string() },
            None => GrpcError::Malformed,
        }
    })
}

/// An object of texts; `null`, and the empty list that PHP makes of an empty object, have none.
#[derive(Debug, Default)]
pub(crate) struct Pairs<'a>(pub(crate) BTreeMap<String, Option<Text<'a>>>);

impl<'a> Pairs<'a> {
    /// The text as it was given, even if it is empty; `null` counts as absent.
    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_ref().map(|text| &*text.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Pairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs<'a>, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let (mut pairs, mut entries) = (BTreeMap::new(), 0);
                while let Some((name, value)) = map.next_entry::<String, Option<Text<'de>>>()? {
                    counted(entries, PAIRS_MAX)?;
                    entries += 1;
                    pairs.insert(name, value);
                }
                Ok(Pairs(pairs))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Pairs<'de>, A::Error> {
                match list.next_element::<IgnoredAny>()? {
                    None => Ok(Pairs::default()),
                    Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
                }
            }

            fn visit_unit<E: Error>(self) -> Result<Pairs<'de>, E> {
                Ok(Pairs::default())
            }
        }
        deserializer.deserialize_any(Entries)
    }
}

/// A text, borrowed where the JSON has no escapes; `null` is empty, other scalars become text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Text<'a>(pub(crate) Cow<'a, str>);

impl Text<'_> {
    /// None when it is empty, which in every request is the same as absent.
    pub(crate) fn some(&self) -> Option<&str> {
        (!self.0.is_empty()).then_some(&*self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text<'a>, D::Error> {
        struct AsText;
        impl<'de> Visitor<'de> for AsText {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Text<'de>, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Text<'de>, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_bool<E: Error>(self, value: bool) -> Result<Text<'de>, E> {
                self.visit_str(if value { "true" } else { "false" })
            }

            fn visit_unit<E: Error>(self) -> Result<Text<'de>, E> {
                Ok(Text::default())
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

/// A number, also as a string; `null` is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Number(pub(crate) Option<f64>);

impl Number {
    /// Truncated, and held within `i32`: what is outside is outside every range that is checked.
    pub(crate) fn int(self) -> Option<i32> {
        self.0.map(|number| number as i32)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Number, D::Error> {
        struct AsNumber;
        impl Visitor<'_> for AsNumber {
            type Value = Number;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Number, E> {
                Ok(Number(Some(value as f64)))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Number, E> {
                Ok(Number(Some(value as f64)))
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Number, E> {
                Ok(Number(Some(value)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Number, E> {
                if text.is_empty() {
                    return Ok(Number(None));
                }
                text.trim().parse().map(|number| Number(Some(number))).map_err(E::custom)
            }

            fn visit_unit<E: Error>(self) -> Result<Number, E> {
                Ok(Number(None))
            }
        }
        deserializer.deserialize_any(AsNumber)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        let wrong = |body: &str| read::<NamingRequest<'_>>(body.as_bytes()).unwrap_err().to_string();
        let surrogate = wrong(r#"{"instance":{"clusterName":"\ud83d"}}"#);
        assert!(surrogate.starts_with("instance.clusterName: "), "{surrogate}");
        let list = wrong(r#"{"instances":[{"ip":"a"},{"port":"x"}]}"#);
        assert!(list.starts_with("instances[1].port: "), "{list}");
        assert_eq!(wrong("{"), GrpcError::Malformed.to_string());
        assert_eq!(wrong("1"), GrpcError::Malformed.to_string());
    }

    #[test]
    fn lists_and_objects_are_counted_while_they_are_read() {
        fn why<'a, T: Deserialize<'a> + std::fmt::Debug>(body: &'a str) -> String {
            read::<T>(body.as_bytes()).unwrap_err().to_string()
        }
        // What follows the first entry too many is not read: it is no JSON.
        let list =
            |name: &str, entry: &str, count| format!("{{\"{name}\":[{} x", format!("{entry},").repeat(count));
        let map = |name: &str, count| format!("{{\"{name}\":{{{} x", "\"a\":\"\",".repeat(count));
        let over = |why: String, name: &str, max: usize| {
            assert!(why.starts_with(&format!("{name}: more than {max} entries")), "{why}");
        };
        over(why::<NamingRequest<'_>>(&list("instances", "{}", BATCH_MAX + 1)), "instances", BATCH_MAX);
        let keys = list("receivedGroupKeys", "\"\"", RECEIVED_MAX + 1);
        over(why::<WatchRequest<'_>>(&keys), "receivedGroupKeys", RECEIVED_MAX);
        let metadata = format!("{{\"instance\":{}", map("metadata", 10_001));
        over(why::<NamingRequest<'_>>(&metadata), "instance.metadata", 10_000);
        let pairs = map("", PAIRS_MAX + 1);
        let pairs = serde_json::from_str::<Pairs<'_>>(&pairs["{\"\":".len()..]);
        assert!(pairs.unwrap_err().to_string().starts_with(&format!("more than {PAIRS_MAX} entries")));
        let most = list("instances", "{}", BATCH_MAX).replace(", x", "]}");
        assert_eq!(read::<NamingRequest<'_>>(most.as_bytes()).unwrap().instances.unwrap().len(), BATCH_MAX);
        assert!(
            NamingRequest::read(&vec![b' '; NAMING_BYTES_MAX + 1])
                .unwrap_err()
                .to_string()
                .contains("4194304")
        );
    }

    #[test]
    fn an_empty_list_is_an_empty_object() {
        let pairs = |json: &str| serde_json::from_str::<Pairs<'_>>(json).map(|pairs| pairs.0.len()).ok();
        let cases = [("[]", Some(0)), ("null", Some(0)), ("{}", Some(0)), (r#"{"a":"","b":null}"#, Some(2))];
        for (json, want) in cases {
            assert_eq!(pairs(json), want, "{json}");
        }
        assert_eq!((pairs("[1]"), pairs("1")), (None, None));
        let read: Pairs<'_> = serde_json::from_str(r#"{"a":"","b":null,"c":1}"#).unwrap();
        assert_eq!((read.given("a"), read.given("b"), read.given("c")), (Some(""), None, Some("1")));
    }
}
