//! The JSON of requests, read so that a small text cannot become large in memory: lists and objects are counted while they are
//! read, and what is over its limit is refused before it is held.

use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

/// A list of at most `MAX` entries.
#[derive(Debug)]
pub struct List<T, const MAX: usize>(Vec<T>);

impl<T, const MAX: usize> Deref for List<T, MAX> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T, const MAX: usize> Default for List<T, MAX> {
    fn default() -> List<T, MAX> {
        List(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for List<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T, MAX>, D::Error> {
        struct Entries<T, const MAX: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for Entries<T, MAX> {
            type Value = List<T, MAX>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<List<T, MAX>, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = list.next_element()? {
                    counted(entries.len(), MAX)?;
                    entries.push(entry);
                }
                Ok(List(entries))
            }
        }
        deserializer.deserialize_seq(Entries(PhantomData))
    }
}

/// Refuses another entry of a list or an object that has `len` of at most `max`.
///
/// # Errors
/// There is no room for it. The message says how many there may be.
pub fn counted<E: de::Error>(len: usize, max: usize) -> Result<(), E> {
    if len < max { Ok(()) } else { Err(E::custom(format_args!("more than {max} entries"))) }
}

/// A JSON value that becomes a text; `null` is none.
#[derive(Debug)]
pub struct Scalar(pub Option<Box<str>>);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Scalar, D::Error> {
        struct AsText;
        impl Visitor<'_> for AsText {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, number, boolean or null")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar(Some(text.into())))
            }

            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar, E> {
                self.visit_str(if value { "true" } else { "false" })
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar, E> {
                self.visit_str(&value.to_string())
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar, E> {
                self.visit_str(&format!("{value:?}"))
            }

            fn visit_unit<E: de::Error>(self) -> Result<Scalar, E> {
                Ok(Scalar(None))
            }
        }
        deserializer.deserialize_any(AsText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_counted_while_it_is_read() {
        let read = |json: &str| serde_json::from_str::<List<Scalar, 3>>(json);
        assert_eq!(read("[]").unwrap().len(), 0);
        assert_eq!(read(r#"["a",1,null]"#).unwrap().len(), 3);
        // What follows is not looked at, valid or not.
        let over = read("[1,2,3,4,x").unwrap_err().to_string();
        assert!(over.starts_with("more than 3 entries"), "{over}");
        assert!(read("{}").is_err());
    }
}
