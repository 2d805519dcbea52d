//! Output for people: aligned columns, and times.

use dyad_types::date::timestamp;

/// Rows under a head, each column as wide as its widest text.
#[derive(Clone, Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(head: &[&str]) -> Table {
        Table { rows: vec![head.iter().map(|name| (*name).to_owned()).collect()] }
    }

    /// As many texts as the head has; an empty one is shown as `-`.
    pub(crate) fn row<const N: usize>(&mut self, row: [String; N]) {
        let shown = |text: String| if text.is_empty() { "-".to_owned() } else { text };
        self.rows.push(row.into_iter().map(shown).collect());
    }

    pub(crate) fn to_text(&self) -> String {
        let columns = self.rows[0].len();
        let width = |at: usize| self.rows.iter().filter_map(|row| row.get(at)).map(|c| wide(c)).max();
        let widths: Vec<usize> = (0..columns).map(|at| width(at).unwrap_or(0)).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(cell);
                line.push_str(&" ".repeat(width + 2 - wide(cell)));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

fn wide(cell: &str) -> usize {
    cell.chars().count()
}

/// Milliseconds since the epoch as `2026-11-21 00:50:53Z`; 0 is nothing.
pub(crate) fn moment(ms: u64) -> String {
    match timestamp(ms).split_once('.') {
        Some((seconds, _)) if ms > 0 => format!("{}Z", seconds.replace('T', " ")),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["ID", "NAME", "N"]);
        table.row(["public".into(), "中".into(), "1".into()]);
        table.row([String::new(), "long name".into(), String::new()]);
        assert_eq!(table.to_text(), "ID      NAME       N\npublic  中          1\n-       long name  -\n");
    }

    #[test]
    fn moments() {
        for (ms, want) in [
            (0, ""),
            (1, "1970-01-01 00:00:00Z"),
            (951_782_400_000, "2000-02-29 00:00:00Z"),
            (951_868_799_999, "2000-02-29 23:59:59Z"),
            (1_795_222_220_757, "2026-11-21 00:50:20Z"),
            (1_798_761_599_000, "2026-12-31 23:59:59Z"),
        ] {
            assert_eq!(moment(ms), want);
        }
        assert!(moment(u64::MAX).ends_with('Z'), "any number");
    }
}
