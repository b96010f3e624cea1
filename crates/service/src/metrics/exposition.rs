//! The text of all metrics, in the format that the request asks for: OpenMetrics, or Prometheus' own 0.0.4.
//!
//! The library writes OpenMetrics. The other format names a counter with its suffix, has no type for facts, no units
//! and no end mark.

use http::HeaderMap;
use http::header::ACCEPT;

/// A format of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exposition {
    OpenMetrics,
    Text,
}

/// The ranges that take the text format.
const TEXT_RANGES: [&str; 3] = ["text/plain", "text/*", "*/*"];

impl Exposition {
    /// Returns the format that the client likes better. OpenMetrics must be named; whoever names nothing that there is
    /// gets text (RFC 9110, 12.4.1: a server may disregard the field).
    pub(crate) fn asked(headers: &HeaderMap) -> Self {
        let lines = headers.get_all(ACCEPT).iter().filter_map(|line| line.to_str().ok());
        let members: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
        let open = quality(&members, "application/openmetrics-text", "1.0.0");
        let text = TEXT_RANGES.into_iter().find_map(|range| quality(&members, range, "0.0.4")).unwrap_or_default();
        if open.is_some_and(|open| open > 0.0 && open >= text) { Self::OpenMetrics } else { Self::Text }
    }

    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// Returns the text in this format.
    pub(crate) fn of(self, open_metrics: String) -> String {
        match self {
            Self::OpenMetrics => open_metrics,
            Self::Text => text(&open_metrics),
        }
    }
}

/// Returns how much the client likes this version of a range, 0 to 1, at most; `None` where it names neither.
fn quality(members: &[&str], range: &str, version: &str) -> Option<f32> {
    let of_member = |member: &&str| {
        let mut parts = member.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(range) {
            return None;
        }
        let parameters = parts.filter_map(|parameter| parameter.split_once('='));
        let (mut quality, mut is_other) = (1.0, false);
        for (name, value) in parameters {
            match name.to_ascii_lowercase().as_str() {
                "q" => quality = value.parse().unwrap_or(1.0),
                "version" => is_other = value.trim_matches('"') != version,
                _ => {}
            }
        }
        (!is_other).then_some(quality)
    };
    members.iter().filter_map(of_member).reduce(f32::max)
}

/// Returns OpenMetrics as text of version 0.0.4.
fn text(open_metrics: &str) -> String {
    let (mut text, mut help) = (String::with_capacity(open_metrics.len()), "");
    for line in open_metrics.lines() {
        if let Some(named) = line.strip_prefix("# HELP ") {
            help = named.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|named| named.split_once(' ')) {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                kind => ("", kind),
            };
            text.push_str(&format!("# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::Metrics;

    #[test]
    fn the_format_is_the_one_that_is_asked_for() {
        const PROMETHEUS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let asked = |lines: &[&'static str]| {
            Exposition::asked(&lines.iter().map(|line| (ACCEPT, HeaderValue::from_static(line))).collect())
        };
        for open in [
            &[PROMETHEUS][..],
            &["application/openmetrics-text"],
            &["application/openmetrics-text; version=\"1.0.0\"", "text/plain;q=0.5"],
            &["text/html, Application/OpenMetrics-Text;Version=1.0.0;q=0.9, */*;q=0.1"],
        ] {
            assert_eq!(asked(open), Exposition::OpenMetrics, "{open:?}");
        }
        for text in [
            &[][..],
            &["*/*"],
            &["text/plain;version=0.0.4"],
            &["text/plain; version=0.0.4; charset=utf-8"],
            &["text/html, */*;q=0.8"],
            &["application/openmetrics-text;version=0.0.1"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0.1, text/plain;q=0.5"],
            &["application/json"],
        ] {
            assert_eq!(asked(text), Exposition::Text, "{text:?}");
        }
    }

    #[test]
    fn text_has_its_own_names_of_types_and_no_end() {
        let open = "# HELP a Requests.\n# TYPE a counter\na_total{b=\"c\"} 1\n# HELP d_seconds Time.\n\
            # TYPE d_seconds gauge\n# UNIT d_seconds seconds\nd_seconds 2.5\n# HELP e Build.\n# TYPE e info\n\
            e_info{v=\"1\"} 1\n# HELP f Any.\n# TYPE f unknown\nf 1\n# EOF\n";
        let expected = "# HELP a_total Requests.\n# TYPE a_total counter\na_total{b=\"c\"} 1\n\
            # HELP d_seconds Time.\n# TYPE d_seconds gauge\nd_seconds 2.5\n\
            # HELP e_info Build.\n# TYPE e_info gauge\ne_info{v=\"1\"} 1\n# HELP f Any.\n# TYPE f untyped\nf 1\n";
        assert_eq!(Exposition::Text.of(open.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.of(open.to_owned()), open);
    }

    #[test]
    fn the_metrics_of_a_process_are_clean() {
        testkit::promtool::check(&Exposition::Text.of(Metrics::new().encode()));
    }
}
