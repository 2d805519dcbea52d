//! The JSON of requests. As with Jackson, unknown fields are ignored, `null` counts as absent, and numbers may be strings.

use std::borrow::Cow;
use std::fmt;

use dyad_types::Metadata;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::error::GrpcError;
use dyad_app::naming::metadata::JsonMetadata;

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
    pub(crate) instances: Option<Vec<InstanceDto<'a>>>,
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
        serde_json::from_slice(body).map_err(|_| GrpcError::Malformed)
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
    pub(crate) received_group_keys: Option<Vec<Text<'a>>>,
    #[serde(default)]
    pub(crate) initializing: Option<bool>,
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
