//! Figures of all rounds, as text and JSON.

use std::fmt::Write;

use serde::Serialize;

use crate::record::{Errors, Latency, Record, Round, Usage};

/// Everything that was measured.
#[derive(Debug, Serialize)]
pub struct Report {
    pub mode: &'static str,
    pub servers: Vec<Server>,
    /// First server over the second, with `--vs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
    /// What must not happen and did. Empty: the measurement passed.
    pub violations: Vec<String>,
}

/// One server over all its rounds.
#[derive(Debug, Serialize)]
pub struct Server {
    pub url: String,
    pub rounds: usize,
    /// Answered requests, callbacks or reconnects: what the latency is of.
    pub count: u64,
    /// A second; median of the rounds.
    pub rate: f64,
    /// Milliseconds, of all rounds.
    pub latency: Latency,
    pub errors: Errors,
    /// Cores that the generator kept busy: near 1 for each core that it has, it was what was measured.
    pub generator_cores: f64,
    /// Microseconds of the server's CPU for each counted thing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_us: Option<f64>,
    /// Cores that the server kept busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_cores: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_rss_mb: Option<f64>,
    /// Further figures, medians of the rounds: name with unit → value.
    pub figures: Vec<(&'static str, f64)>,
}

/// Above 1 is more of it: better for the rate, worse for times.
#[derive(Debug, Serialize)]
pub struct Ratio {
    pub rate: f64,
    pub p50: f64,
    pub p99: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_us: Option<f64>,
}

impl Report {
    pub(crate) fn new(mode: &'static str, sides: Vec<(String, Vec<Round>)>) -> Report {
        let violation = |(url, rounds): &(String, Vec<Round>)| {
            let of = rounds.iter().flat_map(|round| &round.violations);
            of.map(|violation| format!("{url}: {violation}")).collect::<Vec<_>>()
        };
        // Only the server under measurement is held to account, not what it is compared with.
        let violations = sides.first().map(violation).unwrap_or_default();
        let servers: Vec<Server> = sides.into_iter().map(|(url, rounds)| Server::new(url, &rounds)).collect();
        let ratio = match &servers[..] {
            [first, second] => Some(Ratio {
                rate: first.rate / second.rate,
                p50: first.latency.p50 / second.latency.p50,
                p99: first.latency.p99 / second.latency.p99,
                server_us: first.server_us.zip(second.server_us).map(|(a, b)| a / b),
            }),
            _ => None,
        };
        Report { mode, servers, ratio, violations }
    }

    /// What people read.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        for server in &self.servers {
            server.write(self.mode, &mut text).expect("writing to a String does not fail");
        }
        if let Some(ratio) = &self.ratio {
            let Ratio { rate, p50, p99, server_us } = ratio;
            let cpu = server_us.map(|us| format!(", server CPU each {us:.2}")).unwrap_or_default();
            text += &format!("ratio first/second: rate {rate:.2}, p50 {p50:.3}, p99 {p99:.3}{cpu}\n");
        }
        for violation in &self.violations {
            text += &format!("FAILED {violation}\n");
        }
        text
    }
}

impl Server {
    fn new(url: String, rounds: &[Round]) -> Server {
        let mut record = Record::default();
        rounds.iter().for_each(|round| record.merge(&round.record));
        let of = |value: &dyn Fn(&Round) -> Option<f64>| median(rounds.iter().filter_map(value).collect());
        let usage = |value: &dyn Fn(&Usage) -> Option<f64>| of(&|round| value(&round.usage));
        let figures = rounds.first().map(|round| round.figures.iter().map(|(name, _)| *name).collect());
        let figures: Vec<&'static str> = figures.unwrap_or_default();
        let figure = |name: &&'static str| {
            let value = of(&|round| round.figures.iter().find(|(n, _)| n == name).map(|(_, value)| *value));
            (*name, value.unwrap_or_default())
        };
        Server {
            url,
            rounds: rounds.len(),
            count: record.count(),
            rate: of(&|round| Some(round.record.count() as f64 / round.usage.seconds)).unwrap_or_default(),
            latency: record.latency(),
            errors: record.errors.clone(),
            generator_cores: usage(&|usage| Some(usage.generator_cores)).unwrap_or_default(),
            server_us: of(&|round| Some(round.usage.server_cpu? * 1e6 / round.record.count().max(1) as f64)),
            server_cores: usage(&|usage| Some(usage.server_cpu? / usage.seconds)),
            server_rss_mb: usage(&|usage| Some(usage.server_rss? as f64 / 1_048_576.0)),
            figures: figures.iter().map(figure).collect(),
        }
    }

    fn write(&self, mode: &str, text: &mut String) -> std::fmt::Result {
        let Latency { mean, p50, p90, p99, p999, max } = self.latency;
        writeln!(text, "{mode} at {} ({} rounds)", self.url, self.rounds)?;
        writeln!(text, "  count {}, {:.0} a second", self.count, self.rate)?;
        writeln!(
            text,
            "  ms: mean {mean:.2}, p50 {p50:.2}, p90 {p90:.2}, p99 {p99:.2}, p99.9 {p999:.2}, max {max:.2}"
        )?;
        match self.errors.is_empty() {
            true => writeln!(text, "  errors none")?,
            false => self.errors.iter().try_for_each(|(kind, n)| writeln!(text, "  errors {n}: {kind}"))?,
        }
        for (name, value) in &self.figures {
            writeln!(text, "  {name} {}", number(*value))?;
        }
        if let (Some(us), Some(cores), Some(rss)) = (self.server_us, self.server_cores, self.server_rss_mb) {
            writeln!(
                text,
                "  server: {us:.1} us CPU each, {:.1} % of a core, RSS {rss:.1} MB",
                cores * 100.0
            )?;
        }
        writeln!(text, "  generator: {:.0} % of a core", self.generator_cores * 100.0)
    }
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[n / 2]),
        n => Some(f64::midpoint(values[n / 2 - 1], values[n / 2])),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::Recorder;

    fn round(ms: u64, seconds: f64, lost: f64) -> Round {
        let recorder = Recorder::new();
        (0..100).for_each(|n| recorder.add(n, Duration::from_millis(ms)));
        let usage =
            Usage { seconds, generator_cores: 0.5, server_cpu: Some(0.001), server_rss: Some(1 << 20) };
        let violations = if lost > 0.0 { vec![format!("{lost} lost")] } else { Vec::new() };
        Round { record: recorder.take(), usage, figures: vec![("lost", lost)], violations }
    }

    #[test]
    fn medians_ratios_and_whose_violations_count() {
        let sides = vec![
            ("a".into(), vec![round(10, 1.0, 0.0), round(10, 2.0, 3.0), round(10, 4.0, 0.0)]),
            ("b".into(), vec![round(20, 4.0, 7.0)]),
        ];
        let report = Report::new("grpc push", sides);
        assert_eq!((report.servers[0].rate, report.servers[1].rate), (50.0, 25.0));
        let ratio = report.ratio.as_ref().unwrap();
        assert!((ratio.rate - 2.0).abs() < 0.01 && (ratio.p50 - 0.5).abs() < 0.01);
        assert_eq!(report.violations, ["a: 3 lost"]);
        let text = report.to_text();
        for part in
            ["count 300, 50 a second", "lost 0\n", "10.0 us CPU each", "FAILED a: 3 lost", "errors none"]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
