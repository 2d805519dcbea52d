//! `multipart/form-data`. As in the servlet API, fields are parameters like those of a form, and a part with a file
//! name is a file.

use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Parts of one body: a file, and every parameter that a row can have.
const PARTS_MAX: usize = 64;
/// Bytes of the headers of one part.
const PART_HEAD_MAX: usize = 4 * 1024;
/// Bytes of a boundary (RFC 2046).
const BOUNDARY_MAX: usize = 70;

/// A body in its parts.
#[derive(Debug, Default)]
pub(crate) struct Multipart {
    parts: Vec<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    is_file: bool,
    bytes: Bytes,
}

impl Multipart {
    /// True for a request whose body is of this type.
    pub(crate) fn is(headers: &HeaderMap) -> bool {
        content_type(headers).is_some_and(|kind| {
            kind.get(..19).is_some_and(|start| start.eq_ignore_ascii_case("multipart/form-data"))
        })
    }

    /// Splits the body, without copying it; a request of another type has no parts.
    ///
    /// # Errors
    /// What is wrong with the body.
    pub(crate) fn parse(headers: &HeaderMap, body: &Bytes) -> Result<Multipart, String> {
        if !Multipart::is(headers) {
            return Ok(Multipart::default());
        }
        let boundary =
            content_type(headers).and_then(boundary).ok_or("the multipart body has no boundary")?;
        let delimiter = format!("--{boundary}");
        let broken = || "the multipart body breaks off".to_owned();
        let mut parts = Vec::new();
        let mut at = find(body, delimiter.as_bytes(), 0).ok_or_else(broken)? + delimiter.len();
        while !body[at..].starts_with(b"--") {
            if parts.len() == PARTS_MAX {
                return Err(format!("the multipart body has more than {PARTS_MAX} parts"));
            }
            let head = find(body, b"\r\n\r\n", at).ok_or_else(broken)?;
            if head - at > PART_HEAD_MAX {
                return Err(format!("the headers of a part are over {PART_HEAD_MAX} bytes"));
            }
            let start = head + 4;
            let end = find(body, format!("\r\n{delimiter}").as_bytes(), start).ok_or_else(broken)?;
            let head = &body[at..head];
            let name = parameter(head, "name").ok_or("a part of the multipart body has no name")?;
            let is_file = parameter(head, "filename").is_some();
            parts.push(Part { name, is_file, bytes: body.slice(start..end) });
            at = end + 2 + delimiter.len();
        }
        Ok(Multipart { parts })
    }

    /// The part that is called `file`, with a file name or without.
    pub(crate) fn file(&self) -> Option<&Bytes> {
        self.parts.iter().find(|part| part.name == "file").map(|part| &part.bytes)
    }

    /// The fields in the order of the body.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.parts.iter().filter(|part| !part.is_file).map(|part| (&*part.name, &part.bytes))
    }
}

fn content_type(headers: &HeaderMap) -> Option<&str> {
    headers.get(CONTENT_TYPE)?.to_str().ok()
}

fn boundary(content_type: &str) -> Option<&str> {
    let parameter = |part: &'_ str| -> Option<usize> {
        part.trim_start().get(..9).filter(|name| name.eq_ignore_ascii_case("boundary="))?;
        Some(part.len() - part.trim_start().len() + 9)
    };
    let value = content_type.split(';').skip(1).find_map(|part| Some(&part[parameter(part)?..]))?;
    let value = value.trim().trim_matches('"');
    (1..=BOUNDARY_MAX).contains(&value.len()).then_some(value)
}

/// A parameter of a part's `Content-Disposition`.
fn parameter(head: &[u8], name: &str) -> Option<String> {
    let head = std::str::from_utf8(head).ok()?;
    let line = head
        .lines()
        .find(|l| l.get(..20).is_some_and(|start| start.eq_ignore_ascii_case("content-disposition:")))?;
    let value = line.split(';').skip(1).find_map(|part| {
        let (have, value) = part.trim().split_once('=')?;
        have.trim().eq_ignore_ascii_case(name).then_some(value)
    })?;
    Some(value.trim().trim_matches('"').to_owned())
}

fn find(bytes: &[u8], needle: &[u8], from: usize) -> Option<usize> {
    let first = *needle.first()?;
    let mut at = from;
    while let Some(next) = bytes.get(at..)?.iter().position(|&b| b == first) {
        at += next;
        if bytes[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn parse(kind: &str, body: &str) -> Result<Multipart, String> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, kind.parse().unwrap());
        Multipart::parse(&headers, &Bytes::from(body.to_owned()))
    }

    #[test]
    fn parts_are_found_by_name() {
        let body = "--b\r\nContent-Disposition: form-data; name=\"policy\"\r\n\r\n SKIP \r\n--b\r\ncontent-disposition: \
                    form-data; name=\"file\"; filename=\"x.zip\"\r\nContent-Type: application/zip\r\n\r\nPK--b\r\n\r\n--b--\r\n";
        for kind in ["multipart/form-data; boundary=b", "Multipart/Form-Data;charset=UTF-8; Boundary=\"b\""] {
            let multipart = parse(kind, body).unwrap();
            let fields: Vec<_> = multipart.fields().map(|(name, bytes)| (name, &bytes[..])).collect();
            assert_eq!(fields, [("policy", &b" SKIP "[..])]);
            assert_eq!(multipart.file().unwrap(), "PK--b\r\n");
        }
        assert!(parse("application/json", body).unwrap().file().is_none());
    }

    #[test]
    fn broken_bodies_are_refused() {
        let many =
            "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n\r\n".repeat(PARTS_MAX + 1) + "--b--";
        let kind = "multipart/form-data; boundary=b";
        for (kind, body, want) in [
            ("multipart/form-data", "", "the multipart body has no boundary"),
            ("multipart/form-data; boundary=", "", "the multipart body has no boundary"),
            (kind, "", "the multipart body breaks off"),
            (kind, "--b", "the multipart body breaks off"),
            (
                kind,
                "--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\nabc",
                "the multipart body breaks off",
            ),
            (kind, "--b\r\nX: y\r\n\r\nabc\r\n--b--", "a part of the multipart body has no name"),
            (kind, &many, "the multipart body has more than 64 parts"),
        ] {
            assert_eq!(parse(kind, body).unwrap_err(), want, "{body:?}");
        }
    }
}
