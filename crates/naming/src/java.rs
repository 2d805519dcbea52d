//! Reads and prints numbers and booleans as Java does, because the clients and the error messages of Nacos show them in
//! this form.

use std::fmt::{Debug, LowerExp, Write};

/// Appends a `double` as `Double.toString` prints it: `1.0`, `0.01`, `1.0E-4`, `1.0E10`.
pub fn push_double(out: &mut String, value: f64) {
    if value == 1.0 {
        out.push_str("1.0");
    } else {
        push_real(out, value, value.abs());
    }
}

/// Appends a `float` as `Float.toString` prints it.
pub fn push_float(out: &mut String, value: f32) {
    push_real(out, value, f64::from(value.abs()));
}

/// Java prints plain decimals from 10^-3 to below 10^7, and `d.dEn` elsewhere. A value that JSON cannot express as a
/// number is put in quotes, as Jackson does.
fn push_real(out: &mut String, value: impl Debug + LowerExp, magnitude: f64) {
    if magnitude.is_nan() {
        out.push_str("\"NaN\"");
    } else if magnitude.is_infinite() {
        let sign = if format!("{value:?}").starts_with('-') { "-" } else { "" };
        let _ = write!(out, "\"{sign}Infinity\"");
    } else if magnitude == 0.0 || (1e-3..1e7).contains(&magnitude) {
        let _ = write!(out, "{value:?}");
    } else {
        let text = format!("{value:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let point = if mantissa.contains('.') { "" } else { ".0" };
        let _ = write!(out, "{mantissa}{point}E{exponent}");
    }
}

/// The message of Java's `NumberFormatException`.
pub fn bad_number(text: &str) -> String {
    format!("For input string: \"{text}\"")
}

/// Reads a number as `Long.parseLong` does.
///
/// # Errors
/// The text is not such a number. The error is Java's message.
pub fn parse_long(text: &str) -> Result<i64, String> {
    text.parse().map_err(|_| bad_number(text))
}

/// Reads a number as `Integer.parseInt` does.
///
/// # Errors
/// The text is not such a number. The error is Java's message.
pub fn parse_int(text: &str) -> Result<i32, String> {
    text.parse().map_err(|_| bad_number(text))
}

/// Reads a number as `Float.parseFloat` does, except for the hexadecimal form and the suffixes for types.
///
/// # Errors
/// The text is not such a number. The error is Java's message.
pub fn parse_float(text: &str) -> Result<f32, String> {
    match text.trim() {
        "" => Err("empty String".into()),
        "NaN" => Ok(f32::NAN),
        number if number.bytes().any(|b| b.is_ascii_digit()) => number.parse().map_err(|_| bad_number(text)),
        _ => Err(bad_number(text)),
    }
}

/// Reads a boolean as `ConvertUtils.toBoolean` does: y, yes, on, true and t, in upper or lower case, are true;
/// everything else is false.
pub fn parse_boolean(text: &str) -> bool {
    ["y", "yes", "on", "true", "t"].iter().any(|word| word.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_java_prints_them() {
        let doubles = [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (2.5, "2.5"),
            (0.01, "0.01"),
            (10_000.0, "10000.0"),
            (0.0001, "1.0E-4"),
            (1.5e10, "1.5E10"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ];
        for (value, want) in doubles {
            let mut out = String::new();
            push_double(&mut out, value);
            assert_eq!(out, want);
        }
        for (value, want) in [(0.7f32, "0.7"), (0.5, "0.5"), (2.0, "2.0"), (1e7, "1.0E7")] {
            let mut out = String::new();
            push_float(&mut out, value);
            assert_eq!(out, want);
        }
    }

    #[test]
    fn what_java_does_not_parse_is_refused_with_its_words() {
        for text in ["abc", "1.5", "", " 1", "99999999999999999999"] {
            assert_eq!(parse_long(text), Err(format!("For input string: \"{text}\"")));
        }
        assert_eq!(parse_float("inf"), Err("For input string: \"inf\"".into()));
        assert_eq!(parse_float(""), Err("empty String".into()));
        assert_eq!(parse_float("0.25"), Ok(0.25));
    }
}
