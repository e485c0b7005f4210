//! Text of pages that tests generate from the program.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

const COLUMNS: usize = 100;

/// Wraps a text into lines of a page. Words stay whole: lines end at blanks only.
pub fn filled(text: &str) -> String {
    let options = Options::new(COLUMNS)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options)
}
