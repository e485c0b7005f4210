//! The grammar of a %-format: `%(name)`, flags, width, precision, conversion.

use super::attribute::{Attribute, Kind};
use super::bad_format::{BadFormat, MAX_WIDTH};
use super::conversion::{Conversion, Number};

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// Text that is written unchanged.
    Text(String),
    /// A field of the record and its conversion.
    Value(Attribute, Conversion),
}

/// Splits a format string into pieces.
pub(super) fn pieces(format: &str) -> Result<Vec<Piece>, BadFormat> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    let mut rest = Rest { format, at: 0 };
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        if rest.take('%') {
            text.push('%');
            continue;
        }
        let (attribute, conversion) = rest.conversion()?;
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Value(attribute, conversion));
    }
    if pieces.is_empty() {
        return Err(BadFormat::NoField);
    }
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

/// The part of the format that is not parsed yet.
struct Rest<'a> {
    format: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn peek(&self) -> Option<char> {
        self.format.get(self.at..)?.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.peek()?;
        self.at += character.len_utf8();
        Some(character)
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.at += wanted.len_utf8();
        }
        found
    }

    /// Parses a conversion, after its `%`.
    fn conversion(&mut self) -> Result<(Attribute, Conversion), BadFormat> {
        let start = self.at - 1;
        let incomplete = BadFormat::Incomplete(start);
        if self.peek().is_none() {
            return Err(incomplete);
        }
        if !self.take('(') {
            return Err(BadFormat::NoName(start));
        }
        let field = self.name(start)?.to_owned();
        let Some(attribute) = Attribute::of_name(&field) else {
            return Err(BadFormat::UnknownField(field));
        };
        let mut made = Conversion::plain('s');
        while let Some(flag) = self.peek().filter(|c| "-+ #0".contains(*c)) {
            self.at += 1;
            made.set_flag(flag);
        }
        made.width = self.number(start)?.unwrap_or(0);
        if self.take('.') {
            made.precision = Some(self.number(start)?.unwrap_or(0));
        }
        // C's length modifiers; Python skips them.
        let _ = self.take('h') || self.take('l') || self.take('L');
        let letter = self.next().ok_or(incomplete)?;
        let Some(number) = Number::of_letter(letter) else {
            return Err(BadFormat::UnknownConversion {
                field,
                conversion: letter,
            });
        };
        if !fits(attribute.kind(), number) {
            return Err(BadFormat::WrongType {
                field,
                conversion: letter,
            });
        }
        made.letter = letter;
        Ok((attribute, made))
    }

    /// Reads a name up to the closing parenthesis. Names may contain pairs of parentheses.
    fn name(&mut self, start: usize) -> Result<&str, BadFormat> {
        let from = self.at;
        let mut open = 1_usize;
        while open > 0 {
            match self.next().ok_or(BadFormat::Incomplete(start))? {
                '(' => open += 1,
                ')' => open -= 1,
                _ => {}
            }
        }
        Ok(self.format.get(from..self.at - 1).unwrap_or_default())
    }

    fn number(&mut self, start: usize) -> Result<Option<usize>, BadFormat> {
        if self.peek() == Some('*') {
            // `*` takes its value from a tuple, and log records are formatted from a mapping.
            return Err(BadFormat::NoName(start));
        }
        let mut number = None;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.at += 1;
            let grown = number.unwrap_or(0) * 10 + digit as usize;
            if grown > MAX_WIDTH {
                return Err(BadFormat::TooWide);
            }
            number = Some(grown);
        }
        Ok(number)
    }
}

fn fits(kind: Kind, number: Number) -> bool {
    match number {
        Number::Text => true,
        Number::Decimal | Number::Float => matches!(kind, Kind::Int | Kind::Float),
        Number::Radix | Number::Character => kind == Kind::Int,
    }
}
