//! A table with heads. Columns of text are aligned to the left, columns of numbers to the right.

use crate::shared::words::width;

pub(super) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Self {
        Self {
            rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()],
        }
    }

    /// Adds a row, which has as many cells as there are heads.
    pub(super) fn push(&mut self, row: Vec<String>) {
        debug_assert_eq!(
            row.len(),
            self.rows[0].len(),
            "a row has a cell for each head"
        );
        self.rows.push(row);
    }

    /// Returns the table's lines, the heads first.
    pub(super) fn lines(&self) -> Vec<String> {
        let columns = self.rows[0].len();
        let widths: Vec<usize> = (0..columns)
            .map(|column| {
                let cells = self.rows.iter().map(|row| width(&row[column]));
                cells.max().unwrap_or(0)
            })
            .collect();
        let is_number = |column: usize| {
            let mut cells = self.rows.iter().skip(1).map(|row| &row[column]);
            let begins = |cell: &String| cell.starts_with(|c: char| "·-0123456789".contains(c));
            column > 0 && cells.all(begins) && !matches!(&*self.rows[0][column], "MANAGER" | "HOST")
        };
        let right: Vec<bool> = (0..columns).map(is_number).collect();
        self.rows
            .iter()
            .map(|row| {
                let cells = row.iter().enumerate().map(|(column, cell)| {
                    let gap = " ".repeat(widths[column] - width(cell));
                    match right[column] {
                        true => gap + cell,
                        false => cell.clone() + &gap,
                    }
                });
                cells.collect::<Vec<String>>().join("  ")
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_to_the_right() {
        let mut table = Table::new(&["BLOCK", "HOST", "DONE"]);
        table.push(vec!["0".to_owned(), "n1".to_owned(), "7".to_owned()]);
        table.push(vec!["10".to_owned(), "節点".to_owned(), "1,234".to_owned()]);
        assert_eq!(
            table.lines(),
            [
                "BLOCK  HOST   DONE",
                "0      n1        7",
                "10     節点  1,234"
            ]
        );
    }
}
