//! The byte format of long polls (`MD5Util`): records that end with `\x01`, whose fields are separated by `\x02`.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

const FIELD: char = '\u{2}';
const RECORD: char = '\u{1}';
/// Configurations of one poll; Nacos stops there too.
pub(crate) const KEYS_MAX: usize = 10_000;
/// What Java's `URLEncoder` leaves as it is.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'-').remove(b'*').remove(b'_');

/// One configuration that a client asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) data_id: &'a str,
    pub(crate) group: &'a str,
    pub(crate) md5: &'a str,
    /// Empty when the record has none.
    pub(crate) tenant: &'a str,
}

/// The request is not of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The value as it was before the client encoded it itself: the form's own encoding comes on top.
pub(crate) fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let spaces = value.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaces).decode_utf8_lossy().into_owned())
}

/// Reads the records; what follows the last `\x01` is not one.
pub(crate) fn parse(text: &str) -> Result<Vec<Record<'_>>, Malformed> {
    let Some((records, _)) = text.rsplit_once(RECORD) else { return Err(Malformed) };
    let mut read = Vec::new();
    for record in records.split(RECORD) {
        let mut fields = record.split(FIELD);
        let (Some(data_id), Some(group), Some(md5)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(Malformed);
        };
        let tenant = fields.next().unwrap_or_default();
        if fields.next().is_some() || data_id.is_empty() || group.is_empty() || read.len() >= KEYS_MAX {
            return Err(Malformed);
        }
        read.push(Record { data_id, group, md5, tenant });
    }
    Ok(read)
}

/// The changed configurations (data id, group, tenant as the client spelled it), encoded as clients decode them.
pub(crate) fn changed<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    let mut text = String::new();
    for (data_id, group, tenant) in keys {
        text.extend([data_id, "\u{2}", group]);
        if !tenant.is_empty() {
            text.extend(["\u{2}", tenant]);
        }
        text.push(RECORD);
    }
    utf8_percent_encode(&text, ENCODED).to_string()
}

/// The older form of the same, without tenants.
pub(crate) fn changed_old<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>) -> String {
    keys.into_iter().flat_map(|(data_id, group, _)| [data_id, ":", group, ";"]).collect()
}

/// `Protocol.getVersionNumber`: `2.0.4` is 204; parts that are no numbers do not count.
pub(crate) fn version_number(text: &str) -> u32 {
    let parts = text.split('.').filter_map(|part| part.parse::<u32>().ok());
    parts.fold(0, |number, part| number.saturating_mul(10).saturating_add(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record<'a>(data_id: &'a str, group: &'a str, md5: &'a str, tenant: &'a str) -> Record<'a> {
        Record { data_id, group, md5, tenant }
    }

    #[test]
    fn records_are_read() {
        for (text, want) in [
            ("d\u{2}g\u{2}m\u{1}", vec![record("d", "g", "m", "")]),
            ("d\u{2}g\u{2}\u{1}", vec![record("d", "g", "", "")]),
            ("d\u{2}g\u{2}m\u{2}t\u{1}", vec![record("d", "g", "m", "t")]),
            ("d\u{2}g\u{2}m\u{2}\u{1}", vec![record("d", "g", "m", "")]),
            (
                "a\u{2}g\u{2}\u{1}b\u{2}g\u{2}m\u{2}t\u{1}",
                vec![record("a", "g", "", ""), record("b", "g", "m", "t")],
            ),
            ("a\u{2}g\u{2}\u{1}rest", vec![record("a", "g", "", "")]),
        ] {
            assert_eq!(parse(text), Ok(want), "{text:?}");
        }
    }

    #[test]
    fn what_is_not_of_the_format_is_refused() {
        for text in [
            "",
            "abc",
            "\u{1}",
            "d\u{1}",
            "d\u{2}g\u{1}",
            "\u{2}g\u{2}m\u{1}",
            "d\u{2}\u{2}m\u{1}",
            "d\u{2}g\u{2}m\u{2}t\u{2}x\u{1}",
            "d\u{2}g\u{2}m\u{1}\u{1}",
        ] {
            assert_eq!(parse(text), Err(Malformed), "{text:?}");
        }
        let many = "d\u{2}g\u{2}\u{1}".repeat(KEYS_MAX);
        assert_eq!(parse(&many).map(|records| records.len()), Ok(KEYS_MAX));
        assert_eq!(parse(&(many + "d\u{2}g\u{2}\u{1}")), Err(Malformed));
    }

    #[test]
    fn a_value_is_decoded_a_second_time() {
        for (value, want) in [
            ("d\u{2}g\u{1}", "d\u{2}g\u{1}"),
            ("d%02g%01", "d\u{2}g\u{1}"),
            ("a%2Eb+c", "a.b c"),
            ("%e4%b8%ad", "中"),
            ("%zz%", "%zz%"),
        ] {
            assert_eq!(decoded(value), want);
        }
    }

    #[test]
    fn answers_are_encoded_as_javas_url_encoder_does() {
        let keys = [("a.b-c_d:e", "G", ""), ("数", "G", "dev")];
        assert_eq!(changed(keys), "a.b-c_d%3Ae%02G%01%E6%95%B0%02G%02dev%01");
        assert_eq!(changed_old(keys), "a.b-c_d:e:G;数:G;");
        assert_eq!(changed([]), "");
    }

    #[test]
    fn versions_are_numbers() {
        for (text, want) in [("2.0.4", 204), ("1.4.8", 148), ("3.1.1", 311), ("", 0), ("Nacos:v2.0.4", 4)] {
            assert_eq!(version_number(text), want, "{text}");
        }
    }
}
