//! A table in columns. If the columns would be too narrow to read, each row is a paragraph instead.

use crate::shared::paper::Paper;
use crate::shared::words::{paragraph, width, wrapped};

const BETWEEN: usize = 2;
/// Minimum columns of running text: narrower text is hard to read.
const TEXT_MIN: usize = 24;
/// Maximum lines of a cell beside others: with more, the reader loses the row.
const LINES_MAX: usize = 6;
const INDENT: &str = "    ";

/// Formats a table, whose first row is the head.
pub(super) fn table(rows: &[Vec<String>], columns: usize, paper: &Paper) -> String {
    let Some((head, body)) = rows.split_first() else {
        return String::new();
    };
    match widths(rows, columns) {
        Some(widths) => in_columns(head, body, &widths, paper),
        None => in_paragraphs(head, body, columns, paper),
    }
}

/// Returns the widths of the columns; None if the table does not fit.
fn widths(rows: &[Vec<String>], columns: usize) -> Option<Vec<usize>> {
    let count = rows.iter().map(Vec::len).max()?;
    let column = |number: usize| rows.iter().filter_map(move |row| row.get(number));
    let natural: Vec<usize> = (0..count)
        .map(|number| column(number).map(|cell| width(cell)).max().unwrap_or(0))
        .collect();
    // A column is at least as wide as its longest word or command, and as readable text
    // (`TEXT_MIN`).
    let least = |number: usize| {
        let pieces = column(number).flat_map(|cell| wrapped(cell, 1));
        let longest = pieces.map(|piece| width(&piece)).max().unwrap_or(0);
        longest.max(natural[number].min(TEXT_MIN))
    };
    let mut widths: Vec<usize> = (0..count).map(least).collect();
    let room = columns.checked_sub(BETWEEN * (count - 1))?;
    let mut spare = room.checked_sub(widths.iter().sum())?;
    while spare > 0 {
        // The column that lacks most of its natural width gets the next free column of the screen.
        let short = |number: &usize| natural[*number] - widths[*number].min(natural[*number]);
        let widest = (0..count)
            .max_by_key(short)
            .filter(|number| short(number) > 0);
        let Some(widest) = widest else {
            break;
        };
        widths[widest] += 1;
        spare -= 1;
    }
    let is_tower = |row: &Vec<String>| {
        let mut cells = row.iter().zip(&widths);
        count > 2 && cells.any(|(cell, room)| wrapped(cell, *room).len() > LINES_MAX)
    };
    match rows.iter().any(is_tower) {
        true => None,
        false => Some(widths),
    }
}

fn in_columns(head: &[String], body: &[Vec<String>], widths: &[usize], paper: &Paper) -> String {
    let ruler: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let is_wrapped = body.iter().any(|row| {
        row.iter()
            .zip(widths)
            .any(|(cell, room)| width(cell) > *room)
    });
    let mut text = match head.iter().all(String::is_empty) {
        true => String::new(),
        false => line_of(head, widths) + &paper.dim(line_of(&ruler, widths).trim_end()) + "\n",
    };
    for (number, row) in body.iter().enumerate() {
        if number > 0 && is_wrapped {
            text.push('\n');
        }
        text.push_str(&line_of(row, widths));
    }
    text
}

/// Formats a row, in as many lines as its longest cell takes.
fn line_of(row: &[String], widths: &[usize]) -> String {
    let cells: Vec<Vec<String>> = row
        .iter()
        .zip(widths)
        .map(|(cell, width)| wrapped(cell, *width))
        .collect();
    let height = cells.iter().map(Vec::len).max().unwrap_or(0);
    let mut text = String::new();
    for number in 0..height {
        let mut line = String::new();
        for (cell, room) in cells.iter().zip(widths) {
            let part = cell.get(number).map_or("", String::as_str);
            line.push_str(part);
            line.push_str(&" ".repeat(room.saturating_sub(width(part)) + BETWEEN));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn in_paragraphs(head: &[String], body: &[Vec<String>], columns: usize, paper: &Paper) -> String {
    let mut text = String::new();
    for (number, row) in body.iter().enumerate() {
        if number > 0 {
            text.push('\n');
        }
        let (first, rest) = row
            .split_first()
            .map_or(("", row.as_slice()), |(first, rest)| (first.as_str(), rest));
        for line in wrapped(first, columns) {
            text.push_str(&paper.bold(&line));
            text.push('\n');
        }
        for (name, cell) in head
            .iter()
            .skip(1)
            .zip(rest)
            .filter(|(_, cell)| !cell.is_empty())
        {
            // If the table has only two columns, the name of the second adds nothing.
            let named = match rest.len() {
                1 => cell.clone(),
                _ => format!("{name}: {cell}"),
            };
            text.push_str(&paragraph(&named, INDENT, columns));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(rows: &[&[&str]], columns: usize) -> String {
        let of_row = |row: &&[&str]| row.iter().map(|cell| (*cell).to_owned()).collect();
        let rows: Vec<Vec<String>> = rows.iter().map(of_row).collect();
        table(&rows, columns, &Paper::piped())
    }

    const LONG: &str = "a cell whose text is longer than any column here would have room for";

    #[test]
    fn long_cells_are_wrapped_and_rows_are_separated() {
        let told = set(&[&["name", "what"], &["`a`", LONG], &["b", "short"]], 40);
        let wanted = "name  what\n----  ----------------------------------\n\
                      `a`   a cell whose text is longer than\n\
                      \u{20}     any column here would have room\n      for\n\nb     short\n";
        assert_eq!(told, wanted);
        assert!(
            told.lines().all(|line| line.chars().count() <= 41),
            "{told}"
        );
    }

    #[test]
    fn a_table_without_room_is_printed_row_by_row() {
        let told = set(
            &[&["name", "one", "two"], &["`a b c d e f g h`", LONG, LONG]],
            40,
        );
        assert!(
            told.starts_with("`a b c d e f g h`\n    one: a cell whose"),
            "{told}"
        );
        assert!(told.contains("\n    two: a cell"), "{told}");
    }
}
