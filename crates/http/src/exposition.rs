//! The two text formats of metrics. Prometheus's client library writes OpenMetrics 1.0.0; whoever does not ask for it gets the
//! text format 0.0.4, which everything can read.

const OPENMETRICS: &str = "application/openmetrics-text";
const PLAIN: &str = "text/plain";

/// Whether a header Accept prefers OpenMetrics. It has to name it: `*/*` is what every client sends.
pub(crate) fn wants_openmetrics(accept: &str) -> bool {
    let openmetrics = quality(accept, OPENMETRICS);
    openmetrics > 0.0 && openmetrics >= quality(accept, PLAIN)
}

/// The highest quality that the header gives to a media type by its name, 0 without one.
fn quality(accept: &str, wanted: &str) -> f32 {
    let of = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(wanted));
        let given = parts.find_map(|part| part.strip_prefix("q="));
        let quality = given.map_or(1.0, |text| text.parse().unwrap_or(0.0));
        if named { quality } else { 0.0 }
    };
    accept.split(',').map(of).fold(0.0, f32::max)
}

/// OpenMetrics in the text format 0.0.4: there the family of a counter has the name of its series, with `_total`, and nothing
/// marks the end.
pub(crate) fn plain(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len() + openmetrics.len() / 16);
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        if line == "# EOF" {
            break;
        }
        let Some((name, help)) = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let counter = format!("# TYPE {name} counter");
        let is_counter = lines.next_if(|next| *next == counter).is_some();
        let end = if is_counter { "_total" } else { "" };
        text.push_str(&format!("# HELP {name}{end} {help}\n"));
        if is_counter {
            text.push_str(&format!("# TYPE {name}_total counter\n"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_gets_its_whole_name_and_the_end_goes() {
        let openmetrics = "# HELP a A help.\n# TYPE a counter\na_total{x=\"# EOF\"} 1\n# HELP b_bytes B.\n# TYPE b_bytes gauge\n\
            b_bytes 2\n# EOF\n";
        let want = "# HELP a_total A help.\n# TYPE a_total counter\na_total{x=\"# EOF\"} 1\n# HELP b_bytes B.\n# TYPE b_bytes \
            gauge\nb_bytes 2\n";
        assert_eq!(plain(openmetrics), want);
    }

    #[test]
    fn only_who_names_openmetrics_gets_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, want) in [
            (prometheus, true),
            ("application/openmetrics-text", true),
            ("Application/OpenMetrics-Text; version=1.0.0", true),
            ("text/plain;version=0.0.4;q=0.5, application/openmetrics-text; q=0.2", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
            ("text/plain", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(wants_openmetrics(accept), want, "{accept}");
        }
    }
}
