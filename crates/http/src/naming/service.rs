//! `/service`: service records.

use std::borrow::Cow;
use std::sync::Arc;

use dyad_naming::cp::{Selector, ServiceRecord};
use dyad_naming::java::parse_float;
use dyad_types::Metadata;
use percent_encoding::percent_decode_str;

use crate::naming::request::check_request;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::naming::services;
use dyad_app::{App, Fault};

/// `POST /service`.
pub(crate) fn create(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service_param()?;
        let threshold = params.get(Key::ProtectThreshold).map_or(Ok(0.0), parse_threshold)?;
        let record = read_record(params, threshold, checked.metadata)?;
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            services::create(&app, &caller, service, record).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `PUT /service`: replaces threshold, metadata and selector.
pub(crate) fn update(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service_param()?;
        let threshold = params.get(Key::ProtectThreshold).ok_or(Fault::Required("protectThreshold"))?;
        let record = read_record(params, parse_threshold(threshold)?, checked.metadata)?;
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            services::update(&app, &caller, service, record).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `DELETE /service`: only of a service without instances of either lifetime.
pub(crate) fn delete(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let service = check_request(app, params)?.service_param()?;
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            services::delete(&app, &caller, service).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `GET /service`.
pub(crate) fn detail(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Reply, Fault> {
        let service = check_request(app, params)?.service_param()?;
        Ok(Reply::json(services::service(app, &params.caller(), service)?.service_json()))
    };
    Step::Done(read())
}

fn read_record(params: &Params, protect_threshold: f32, metadata: Metadata) -> Result<ServiceRecord, Fault> {
    let selector = params.get(Key::Selector).map_or(Ok(Selector::default()), parse_selector)?;
    Ok(ServiceRecord { protect_threshold, metadata, selector })
}

fn parse_threshold(text: &str) -> Result<f32, Fault> {
    parse_float(text).map_err(Fault::Invalid)
}

#[derive(serde::Deserialize)]
struct SelectorJson<'a> {
    #[serde(borrow, default, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    expression: Option<Cow<'a, str>>,
}

/// `ServiceController.parseSelector`: JSON, often percent-encoded once more by the client.
///
/// # Errors
/// 400 for what is no JSON, another type than `none` and `label`, or an expression that the label selector does not
/// know; Nacos answers 101, 400 and 500.
fn parse_selector(text: &str) -> Result<Selector, Fault> {
    let decoded =
        if text.starts_with('{') { text.into() } else { percent_decode_str(text).decode_utf8_lossy() };
    let json: SelectorJson<'_> = serde_json::from_str(&decoded)
        .map_err(|error| Fault::Invalid(format!("selector format incorrect: {error}")))?;
    match json.kind.as_deref() {
        Some("none") => Ok(Selector::default()),
        Some("label") => {
            let expression = json.expression.as_deref().unwrap_or_default();
            check_label_expression(expression)?;
            Ok(Selector { kind: "label".into(), expression: expression.into() })
        }
        _ => Err(Fault::Invalid("not match any type of selector!".into())),
    }
}

/// `CONSUMER.label.X = PROVIDER.label.X`, several joined by `&`; each compares one label with itself.
fn check_label_expression(expression: &str) -> Result<(), Fault> {
    let same_label = |term: &str| {
        let (left, right) = term.split_once('=')?;
        let label = left.trim().strip_prefix("CONSUMER.label.")?;
        (!label.is_empty() && right.trim().strip_prefix("PROVIDER.label.")? == label).then_some(())
    };
    if expression.trim().is_empty() || expression.split('&').all(|term| same_label(term).is_some()) {
        return Ok(());
    }
    Err(Fault::Invalid(format!("Selector parses failed: {expression}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_none_or_a_label_expression() {
        let label = "CONSUMER.label.A=PROVIDER.label.A & CONSUMER.label.B = PROVIDER.label.B";
        for (text, kind) in [
            (r#"{"type":"none"}"#.to_owned(), Some("none")),
            ("%7B%22type%22%3A%22none%22%7D".to_owned(), Some("none")),
            (format!(r#"{{"type":"label","expression":"{label}"}}"#), Some("label")),
            (r#"{"type":"label","expression":"CONSUMER.label.A=PROVIDER.label.B"}"#.to_owned(), None),
            (r#"{"type":"other"}"#.to_owned(), None),
            ("{}".to_owned(), None),
            ("{".to_owned(), None),
            ("[]".to_owned(), None),
        ] {
            assert_eq!(parse_selector(&text).ok().map(|s| s.kind.to_string()).as_deref(), kind, "{text}");
        }
    }
}
