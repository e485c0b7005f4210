//! The result: one JSON object on one line.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::proc_fs::Used;

pub(crate) enum Value {
    Text(String),
    Number(f64),
    Bool(bool),
    Object(Report),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number as f64)
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Number(number as f64)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Bool(is)
    }
}

impl From<Report> for Value {
    fn from(report: Report) -> Self {
        Self::Object(report)
    }
}

/// The report: named values, whose names include their unit.
#[derive(Default)]
pub(crate) struct Report {
    entries: Vec<(String, Value)>,
}

impl Report {
    pub(crate) fn add(&mut self, name: &str, value: impl Into<Value>) -> &mut Self {
        self.entries.push((name.to_owned(), value.into()));
        self
    }

    /// Adds the processor time of a phase with `count` operations, in µs per operation. Names begin
    /// with `prefix`.
    pub(crate) fn add_cpu(&mut self, prefix: &str, used: &Used, count: u64) -> &mut Self {
        let each_us = |ns: u64| ns as f64 / 1000.0 / count.max(1) as f64;
        let threads = per_thread(&used.interchange_ns_by_thread, each_us);
        self.add(
            &format!("{prefix}cpu_us_per_task"),
            each_us(used.interchange_ns),
        )
        .add(
            &format!("{prefix}cpu_wait_us_per_task"),
            each_us(used.interchange_wait_ns),
        )
        .add(&format!("{prefix}cpu_us_per_task_by_thread"), threads)
        .add(
            &format!("{prefix}generator_cpu_us_per_task"),
            each_us(used.generator_ns),
        )
    }

    pub(crate) fn to_json(&self) -> String {
        let entries: Vec<String> = self
            .entries
            .iter()
            .map(|(name, value)| format!("{}: {}", quoted(name), value.to_json()))
            .collect();
        format!("{{{}}}", entries.join(", "))
    }
}

/// Returns the figures by thread, without threads whose figure is too small to matter.
pub(crate) fn per_thread(threads: &BTreeMap<String, u64>, figure: impl Fn(u64) -> f64) -> Report {
    let mut report = Report::default();
    for (name, ns) in threads.iter().filter(|(_, ns)| **ns > 0) {
        report.add(name, figure(*ns));
    }
    report
}

impl Value {
    fn to_json(&self) -> String {
        match self {
            Self::Text(text) => quoted(text),
            Self::Bool(is) => is.to_string(),
            Self::Object(report) => report.to_json(),
            // JSON has no infinite numbers and no NaN.
            Self::Number(number) if !number.is_finite() => "null".to_owned(),
            // Six significant digits are enough for all of these figures.
            Self::Number(number) if number.fract() == 0.0 => format!("{number:.0}"),
            Self::Number(number) => {
                let digits = 5 - number.abs().log10().floor() as i32;
                format!("{number:.*}", digits.clamp(0, 9) as usize)
            }
        }
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
