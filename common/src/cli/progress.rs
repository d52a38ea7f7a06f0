//! What people see on standard error: a line of progress, numbers, tables.

use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A line that tells how far the work is; nothing at all where nobody watches.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
}

impl Progress {
    pub(super) fn new(visible: bool) -> Self {
        let bar =
            ProgressBar::with_draw_target(None, if visible { ProgressDrawTarget::stderr_with_hz(8) } else { ProgressDrawTarget::hidden() });
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos} {msg} [{elapsed}]") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Counts one more.
    pub fn advance(&self) {
        self.bar.inc(1);
    }

    /// How many there will be from now on, once it is known.
    pub fn expect(&self, total: u64) {
        self.bar.set_position(0);
        self.bar.set_length(total);
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} [{elapsed}, {eta} left]") {
            self.bar.set_style(style);
        }
    }

    /// What is being counted, or looked at now.
    pub fn tell(&self, message: impl Into<String>) {
        self.bar.set_message(message.into());
    }

    /// Takes the line away while something else is written to the terminal. What writes must not touch the line: it would wait for
    /// itself.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.bar.suspend(write)
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A number of bytes for people: `30.0 MiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    BinaryBytes(bytes).to_string()
}

/// A count with its noun: `1 manifest`, `1,200 manifests`, `3 repositories`.
#[must_use]
pub fn count(number: u64, noun: &str) -> String {
    let plural = match noun {
        _ if number == 1 => noun.to_owned(),
        _ if noun.ends_with('y') => format!("{}ies", &noun[..noun.len() - 1]),
        _ if noun.ends_with('x') => format!("{noun}es"),
        _ => format!("{noun}s"),
    };
    format!("{} {plural}", HumanCount(number))
}

/// Rows in aligned columns, without lines, as `kubectl` and `docker` print them. No heading is printed where it is empty.
#[must_use]
pub fn table(heading: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    if !heading.is_empty() {
        table.set_header(heading);
    }
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let mut text: String = table.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    text.retain(|character| character == '\n' || !character.is_control());
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        assert_eq!(bytes(31_457_280), "30.00 MiB");
        assert_eq!(
            (count(1, "manifest"), count(1200, "manifest"), count(2, "repository"), count(0, "index")),
            ("1 manifest".into(), "1,200 manifests".into(), "2 repositories".into(), "0 indexes".into())
        );
    }

    #[test]
    fn columns_line_up() {
        assert_eq!(table(&["A", "B"], vec![vec!["x".into(), "1".into()], vec!["yyy".into(), "2".into()]]), "A    B\nx    1\nyyy  2\n");
    }
}
