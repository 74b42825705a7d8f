//! The text of Prometheus' format, as it grows: families, samples, histograms.

use std::fmt::{Display, Write as _};

use platform::Histogram;

/// The text, as it grows.
#[derive(Default)]
pub(super) struct Page {
    text: String,
}

/// A histogram: upper bounds, ascending, the last one infinite, each with what lies within it; and the sum of all.
#[derive(Debug)]
pub(super) struct Buckets {
    within: Vec<(f64, u64)>,
    sum: f64,
}

impl Buckets {
    /// From what lies within each bound and over the one before.
    pub(super) fn of(apart: impl Iterator<Item = (f64, u64)>, sum: f64) -> Self {
        let mut within = 0;
        let add = |(bound, count)| {
            within += count;
            (bound, within)
        };
        Self { within: apart.map(add).collect(), sum }
    }

    /// From buckets that count those before them too.
    pub(super) fn cumulative(counted: &Histogram) -> Self {
        let within = counted.buckets.iter().map(|bucket| (bucket.upper_seconds, bucket.count)).collect();
        Self { within, sum: counted.sum_seconds }
    }

    /// All that was counted.
    pub(super) fn count(&self) -> u64 {
        self.within.last().map_or(0, |(_, count)| *count)
    }
}

impl Page {
    pub(super) fn into_text(self) -> String {
        self.text
    }

    pub(super) fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n")));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    pub(super) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        for (at, (key, text)) in labels.iter().enumerate() {
            self.text.push(if at == 0 { '{' } else { ',' });
            self.text.push_str(key);
            self.text.push_str("=\"");
            self.text.push_str(&escaped(text));
            self.text.push('"');
        }
        let end = if labels.is_empty() { "" } else { "}" };
        self.line(format_args!("{end} {value}"));
    }

    pub(super) fn histogram(&mut self, name: &str, labels: &[(&str, &str)], buckets: &Buckets) {
        let bucket = format!("{name}_bucket");
        for (bound, within) in &buckets.within {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() };
            let labels: Vec<(&str, &str)> = labels.iter().copied().chain([("le", bound.as_str())]).collect();
            self.sample(&bucket, &labels, within);
        }
        self.sample(&format!("{name}_sum"), labels, buckets.sum);
        self.sample(&format!("{name}_count"), labels, buckets.count());
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes all that is written");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("a", "1\"2\\3\n4"), ("b", "")], 5);
        page.sample("y", &[], 0.5);
        assert_eq!(page.into_text(), "x{a=\"1\\\"2\\\\3\\n4\",b=\"\"} 5\ny 0.5\n");
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut page = Page::default();
        let buckets = Buckets::of([(0.5, 2), (1.0, 0), (f64::INFINITY, 3)].into_iter(), 7.25);
        page.histogram("h", &[("a", "b")], &buckets);
        let expected = [
            "h_bucket{a=\"b\",le=\"0.5\"} 2",
            "h_bucket{a=\"b\",le=\"1\"} 2",
            "h_bucket{a=\"b\",le=\"+Inf\"} 5",
            "h_sum{a=\"b\"} 7.25",
            "h_count{a=\"b\"} 5\n",
        ];
        assert_eq!(page.into_text(), expected.join("\n"));
    }
}
