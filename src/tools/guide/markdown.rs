//! Formats Markdown as plain lines, as far as the guide's pages use Markdown: headings, paragraphs,
//! lists, tables, and blocks of code. Text in backquotes keeps its backquotes, so that commands are
//! recognizable.

use ::guide::lookup::{self, definition, definitions};

use super::table::table;
use crate::shared::paper::Paper;
use crate::shared::words::{width, wrapped};

/// Maximum columns of a line: longer lines are hard to read.
const COLUMNS_MAX: usize = 92;
const CODE_INDENT: &str = "    ";

/// Formats `markdown` for `paper`.
pub(super) fn rendered(markdown: &str, paper: &Paper) -> String {
    let columns = paper.text_columns.min(COLUMNS_MAX);
    let names: Vec<&str> = definitions(markdown).map(|(name, _)| name).collect();
    let blocks = blocks(markdown);
    let set = blocks.iter().map(|block| match block {
        Block::Heading(depth, text) => heading(*depth, &inline(text, &names), paper),
        Block::Paragraph(text) => joined(&wrapped(&inline(text, &names), columns), ""),
        Block::Item(indent, mark, text) => {
            let hang = " ".repeat(indent + width(mark) + 1);
            let lines = wrapped(&inline(text, &names), columns.saturating_sub(hang.len()));
            let first = format!("{}{mark} ", " ".repeat(*indent));
            first + joined(&lines, &hang).trim_start()
        }
        Block::Code(lines) => joined(lines, CODE_INDENT),
        Block::Table(rows) => {
            let of_row = |row: &Vec<String>| row.iter().map(|cell| inline(cell, &names)).collect();
            table(&rows.iter().map(of_row).collect::<Vec<_>>(), columns, paper)
        }
    });
    let mut text = String::new();
    for (number, set) in set.enumerate() {
        let is_item = |number: usize| matches!(blocks.get(number), Some(Block::Item(..)));
        // There is no blank line between items of a list.
        if number > 0 && !(is_item(number) && is_item(number - 1)) {
            text.push('\n');
        }
        text.push_str(&set);
    }
    text
}

enum Block {
    Heading(usize, String),
    Paragraph(String),
    /// An item of a list: its indent, its mark, and its text.
    Item(usize, String, String),
    Code(Vec<String>),
    /// The rows of a table, of which the first is the head.
    Table(Vec<Vec<String>>),
}

fn blocks(markdown: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    // Whether the next line of text continues the last block.
    let mut is_open = false;
    let mut lines = markdown.lines();
    while let Some(line) = lines.next() {
        let bare = line.trim();
        if let Some(rest) = bare.strip_prefix("<!--") {
            if !rest.contains("-->") {
                let _ = lines.find(|line| line.contains("-->"));
            }
            continue;
        }
        if bare.starts_with("```") {
            let code = lines.by_ref().take_while(|line| line.trim() != "```");
            blocks.push(Block::Code(code.map(str::to_owned).collect()));
            is_open = false;
        } else if bare.is_empty() || definition(line).is_some() {
            is_open = false;
        } else if bare.starts_with('|') {
            add_row(&mut blocks, bare, is_open);
            is_open = true;
        } else if let Some((depth, text)) = lookup::heading(bare) {
            blocks.push(Block::Heading(depth, text.to_owned()));
            is_open = false;
        } else if let Some((mark, text)) = item_of(bare) {
            let indent = line.len() - line.trim_start().len();
            blocks.push(Block::Item(indent, mark.to_owned(), text.to_owned()));
            is_open = true;
        } else {
            match blocks.last_mut().filter(|_| is_open) {
                Some(Block::Paragraph(text) | Block::Item(_, _, text)) => {
                    text.push(' ');
                    text.push_str(bare);
                }
                _ => blocks.push(Block::Paragraph(bare.to_owned())),
            }
            is_open = true;
        }
    }
    blocks
}

fn add_row(blocks: &mut Vec<Block>, line: &str, is_open: bool) {
    if lookup::is_ruler(line) {
        return;
    }
    let cells = lookup::cells(line);
    match blocks.last_mut().filter(|_| is_open) {
        Some(Block::Table(rows)) => rows.push(cells),
        _ => blocks.push(Block::Table(vec![cells])),
    }
}

/// Splits the item of a list, `- text` or `1. text`, into its mark and its text.
fn item_of(line: &str) -> Option<(&str, &str)> {
    let (mark, text) = line.split_once(' ')?;
    let number = mark.strip_suffix('.').unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    (mark == "-" || is_number).then_some((mark, text))
}

fn heading(depth: usize, text: &str, paper: &Paper) -> String {
    let line = match depth {
        1 => "=",
        2 => "-",
        _ => return format!("{}\n", paper.bold(text)),
    };
    let under = line.repeat(width(text));
    format!("{}\n{}\n", paper.bold(text), paper.dim(&under))
}

fn joined(lines: &[String], indent: &str) -> String {
    let indented = lines.iter().map(|line| match line.is_empty() {
        true => "\n".to_owned(),
        false => format!("{indent}{line}\n"),
    });
    indented.collect()
}

/// Removes marks of emphasis and links. Text in backquotes stays unchanged.
fn inline(text: &str, names: &[&str]) -> String {
    let parts = text
        .split('`')
        .enumerate()
        .map(|(number, part)| match number % 2 {
            0 => unmarked(part, names),
            _ => format!("`{part}`"),
        });
    parts.collect()
}

fn unmarked(text: &str, names: &[&str]) -> String {
    let mut text = text.replace("**", "");
    for name in names {
        text = text.replace(&format!("[{name}]"), name);
    }
    // The target of `[words](target)`, an address or a path in the repository, is shown, too.
    while let Some((before, rest)) = text.split_once('[') {
        let Some((words, (target, after))) = rest
            .split_once("](")
            .and_then(|(words, rest)| Some((words, rest.split_once(')')?)))
        else {
            break;
        };
        text = format!("{}{words} ({target}){after}", before.trim_end_matches('!'));
    }
    without_emphasis(&text)
}

/// Removes the stars of `*word*`. A star between blanks is an ordinary star.
fn without_emphasis(text: &str) -> String {
    let mut shown = String::new();
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let after = chars.peek().copied().unwrap_or(' ');
        if c != '*' || (before.is_whitespace() && after.is_whitespace()) {
            shown.push(c);
        }
        before = c;
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(markdown: &str) -> String {
        let paper = Paper {
            text_columns: 40,
            ..Paper::piped()
        };
        rendered(markdown, &paper)
    }

    #[test]
    fn a_page_is_set_in_plain_lines() {
        let page = "# Title\n\nOne *two* **three** `four *five*` and [use] or\n[six](a/b.md).\n\n\
                    - item that is longer than the columns of this paper\n  and goes on\n- next\n\n\
                    ```sh\ncode  as it | is\n```\n\n<!-- not\nshown -->\n| a | b |\n| --- | --- |\n\
                    | 1 | `x\\|y` |\n\n[use]: use.md\n";
        let wanted = "Title\n=====\n\nOne two three `four *five*` and use or\nsix (a/b.md).\n\n\
                      - item that is longer than the columns\n  of this paper and goes on\n\
                      - next\n\n\
                      \u{20}   code  as it | is\n\na  b\n-  -----\n1  `x|y`\n";
        assert_eq!(set(page), wanted);
    }

    #[test]
    fn numbers_and_indents_of_lists_stay() {
        assert_eq!(
            set("1. one\n   more\n2. two\n   - in it\n"),
            "1. one more\n2. two\n   - in it\n"
        );
    }
}
