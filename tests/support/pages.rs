//! Pages that tests make of what the program has.

use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

const COLUMNS: usize = 100;

/// In lines that are not too long for a page. Words stay whole: a line ends at a blank and nowhere
/// else.
pub fn filled(text: &str) -> String {
    let options = Options::new(COLUMNS)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::fill(text, options)
}
