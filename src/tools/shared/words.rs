//! Formats numbers, times and texts for people.

use std::borrow::Cow;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use textwrap::{WordSeparator, WordSplitter, WrapAlgorithm};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::charset::Charset;

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 60 * MINUTE_S;
const DAY_S: u64 = 24 * HOUR_S;

/// Formats a duration in its two largest units: `3.2 s`, `3 min 05 s`, `2 h 03 min`.
pub(crate) fn duration(seconds: f64) -> String {
    // Clocks that differ lead to negative durations. NaN also counts as 0.
    let seconds = seconds.max(0.0);
    if seconds < 0.0005 {
        return "0 s".to_owned();
    }
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1e3);
    }
    if seconds < 9.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        ..MINUTE_S => format!("{whole} s"),
        MINUTE_S..HOUR_S => format!("{} min {:02} s", whole / MINUTE_S, whole % MINUTE_S),
        HOUR_S..DAY_S => format!("{} h {:02} min", whole / HOUR_S, whole % HOUR_S / MINUTE_S),
        _ => format!("{} d {:02} h", whole / DAY_S, whole % DAY_S / HOUR_S),
    }
}

pub(crate) fn bytes(bytes: usize) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    // An amount that would be printed as 1024 is printed in the next unit.
    while amount >= 1023.5 && unit + 1 < UNITS.len() {
        amount /= 1024.0;
        unit += 1;
    }
    match unit > 0 && amount < 9.95 {
        true => format!("{amount:.1} {}", UNITS[unit]),
        false => format!("{amount:.0} {}", UNITS[unit]),
    }
}

/// Formats a number with commas between thousands.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(0).to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Formats a number of events per second.
pub(crate) fn rate(a_second: f64) -> String {
    match a_second {
        ..0.005 => "0".to_owned(),
        0.005..0.0995 => format!("{a_second:.2}"),
        0.0995..9.95 => format!("{a_second:.1}"),
        _ => count(a_second.round() as u64),
    }
}

/// Formats a number with its noun: `1 task`, `2,000 tasks`; for the screens of `status` and `top`.
pub(crate) fn some(number: impl TryInto<u64>, noun: &str) -> String {
    let number = number.try_into().unwrap_or(0);
    noun_of(number, &count(number), noun)
}

/// Formats a number with its noun: `1 task`, `2000 tasks`; for `doctor`, whose sentences are also
/// in JSON.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    noun_of(number, &number.to_string(), noun)
}

fn noun_of(number: u64, digits: &str, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{digits} {noun}{plural}")
}

/// Formats the local wall clock's time; with the day unless that is today.
pub(crate) fn moment(at_s: f64, now_s: f64) -> String {
    let local = |at_s: f64| {
        let moment = Timestamp::from_millisecond((at_s * 1e3) as i64).unwrap_or_default();
        moment.to_zoned(TimeZone::system())
    };
    let (at, now) = (local(at_s), local(now_s));
    let shape = match at.date() == now.date() {
        true => "%H:%M:%S",
        false => "%b %d %H:%M",
    };
    at.strftime(shape).to_string()
}

/// Replaces characters in a peer's text that could move a terminal's cursor or change its colours.
pub(crate) fn plain(text: &str) -> String {
    let seen = |c: char| match c.is_control() || matches!(c, '\u{202a}'..='\u{202e}') {
        true => '\u{fffd}',
        false => c,
    };
    text.chars().map(seen).collect()
}

/// Formats `words` and a path as a command that can be copied into a shell.
pub(crate) fn command(words: &str, path: &Path) -> String {
    format!("`{words} {}`", shell_word(path))
}

/// Formats a path as a word of a shell's command line, quoted if necessary. Bytes that cannot be
/// shown are escaped as bash, zsh and ksh read them.
pub(crate) fn shell_word(path: &Path) -> String {
    word_for(path, Charset::of_reader())
}

fn word_for(path: &Path, charset: Charset) -> String {
    let text = path.to_str().filter(|text| {
        let is_shown = charset == Charset::Utf8 || text.is_ascii();
        is_shown && plain(text) == **text && !text.contains(AROUND_COMMANDS)
    });
    if let Some(quoted) = text.and_then(|text| shlex::try_quote(text).ok()) {
        return quoted.into_owned();
    }
    let mut word = "$'".to_owned();
    for &byte in path.as_os_str().as_bytes() {
        match byte {
            b'\'' | b'\\' => word.extend(['\\', char::from(byte)]),
            b' '..=b'~' if byte != b'`' => word.push(char::from(byte)),
            _ => word += &format!("\\x{byte:02x}"),
        }
    }
    word + "'"
}

/// Returns how many columns a text takes on a terminal.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// Cuts a text to at most so many columns, and marks the cut.
pub(crate) fn clipped(text: &str, columns: usize) -> String {
    if text.width() <= columns {
        return text.to_owned();
    }
    let mut clipped = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used >= columns {
            break;
        }
        clipped.push(c);
    }
    if columns > 0 {
        clipped.push('…');
    }
    clipped
}

/// Breaks a text between words into lines of at most so many columns. A longer word has its own
/// line.
pub(crate) fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let text = with_whole_commands(text);
    let lines = textwrap::wrap(&text, between_words(columns));
    let lines = lines.into_iter().map(Cow::into_owned);
    lines.map(|line| line.replace(NO_BREAK, " ")).collect()
}

/// Replaces a blank at which a line must not be broken. The character is in a plane for private
/// use, and one column wide.
const NO_BREAK: char = '\u{f8f0}';

/// Surrounds commands that can be copied, and never occurs in a command.
const AROUND_COMMANDS: char = '`';

/// Protects the blanks in commands, so that no command is broken: a shell would run its halves.
fn with_whole_commands(text: &str) -> Cow<'_, str> {
    let begins = |(place, _): &(usize, &str)| {
        let before = text[..*place].chars().next_back();
        before.is_none_or(|before| matches!(before, ' ' | '('))
    };
    let mut whole = String::new();
    let mut done = 0;
    for (begin, _) in text.match_indices(AROUND_COMMANDS).filter(begins) {
        let Some(length) = text[begin + 1..].find(AROUND_COMMANDS) else {
            break;
        };
        // A mark that ends a command does not begin the next one.
        if begin < done {
            continue;
        }
        let end = begin + 1 + length;
        whole += &text[done..begin];
        whole += &text[begin..end].replace(' ', NO_BREAK.encode_utf8(&mut [0; 4]));
        done = end;
    }
    match done {
        0 => Cow::Borrowed(text),
        _ => Cow::Owned(whole + &text[done..]),
    }
}

/// Breaks each line of a text as [`wrapped`] does, and indents it. A line's own indent is kept and
/// added.
pub(crate) fn paragraph(text: &str, indent: &str, columns: usize) -> String {
    let mut out = String::new();
    for line in text.lines() {
        // Lines of a traceback, for example, have their own indent.
        let own = line.len() - line.trim_start_matches(' ').len();
        let indent = indent.to_owned() + &" ".repeat(own.min(columns / 4));
        let line = with_whole_commands(line);
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        if !words.is_empty() {
            let options = between_words(columns)
                .initial_indent(&indent)
                .subsequent_indent(&indent);
            let filled = textwrap::fill(&words.join(" "), options);
            out.push_str(&filled.replace(NO_BREAK, " "));
        }
        out.push('\n');
    }
    out
}

/// Breaks lines only between words. Names, paths and commands are copied from these texts, so
/// nothing is hyphenated or cut.
fn between_words(columns: usize) -> textwrap::Options<'static> {
    textwrap::Options::new(columns)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::process::Command;

    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        let expected = [
            (-3.0, "0 s"),
            (0.0, "0 s"),
            (0.0123, "12 ms"),
            (0.9996, "1.0 s"),
            (3.24, "3.2 s"),
            (9.96, "10 s"),
            (59.4, "59 s"),
            (59.6, "1 min 00 s"),
            (185.0, "3 min 05 s"),
            (7_380.0, "2 h 03 min"),
            (86_400.0 * 3.5, "3 d 12 h"),
            (f64::NAN, "0 s"),
        ];
        for (seconds, text) in expected {
            assert_eq!(duration(seconds), text, "{seconds}");
        }
    }

    #[test]
    fn sizes_and_numbers_are_formatted() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1024), "1.0 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(15 << 20), "15 MiB");
        assert_eq!(bytes(usize::MAX), "16777216 TiB");
        assert_eq!(count(0_u64), "0");
        assert_eq!(count(999_usize), "999");
        assert_eq!(count(1_234_567_u64), "1,234,567");
        assert_eq!(rate(0.0), "0");
        assert_eq!(rate(0.03), "0.03");
        assert_eq!(rate(3.25), "3.2");
        assert_eq!(rate(12_345.6), "12,346");
        assert_eq!(some(1_usize, "task"), "1 task");
        assert_eq!(some(0_usize, "task"), "0 tasks");
        assert_eq!(some(2_000_usize, "task"), "2,000 tasks");
    }

    #[test]
    fn control_characters_of_peers_are_replaced() {
        assert_eq!(plain("node\u{1b}[31m\n1"), "node\u{fffd}[31m\u{fffd}1");
        assert_eq!(plain("a\u{202e}b"), "a\u{fffd}b");
        assert_eq!(plain("nœud-1"), "nœud-1");
    }

    #[test]
    fn texts_are_clipped_and_wrapped_to_a_width() {
        assert_eq!(clipped("node17", 6), "node17");
        assert_eq!(clipped("node17", 5), "node…");
        assert_eq!(clipped("節点十七", 5), "節点…");
        assert_eq!(clipped("node", 0), "");
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("overlong a", 3), ["overlong", "a"]);
        assert_eq!(wrapped("", 3), [""]);
    }

    /// The test breaks the expected lines with a plain loop.
    #[test]
    fn lines_break_where_the_next_word_has_no_room() {
        let by_hand = |text: &str, columns: usize| {
            let mut lines = vec![String::new()];
            for word in text.split(' ') {
                let line = lines.last_mut().expect("there is one");
                if line.is_empty() {
                    line.push_str(word);
                } else if width(line) + 1 + width(word) > columns {
                    lines.push(word.to_owned());
                } else {
                    *line += &format!(" {word}");
                }
            }
            lines
        };
        let text = "No manager-of-1,000 takes any: `/a/very/long/path-with-hyphens/in-it`, 節点 十七 \
                    and so on … but 2 × 3 are (as told) sus\u{ad}pect.";
        for columns in [0, 1, 5, 8, 13, 21, 34, 55, 89, usize::MAX] {
            assert_eq!(wrapped(text, columns), by_hand(text, columns), "{columns}");
        }
    }

    #[test]
    fn a_command_is_not_broken() {
        let text = "Look: `htex-interchange doctor 'a b'` tells, or `htex-interchange top` does.";
        let lines = wrapped(text, 12);
        assert!(lines.contains(&"`htex-interchange doctor 'a b'`".to_owned()));
        assert!(lines.contains(&"`htex-interchange top`".to_owned()));
        assert_eq!(lines.join(" "), text);
        let unclosed = "Look: `htex-interchange top and so on";
        assert_eq!(wrapped(unclosed, 12).join(" "), unclosed);
        assert_eq!(wrapped("in /a`s b c: `ls x` d", 4).len(), 5);
        let two_blanks = "`htex-interchange doctor 'a  b'`\n";
        assert_eq!(paragraph(two_blanks, "", 12), two_blanks);
    }

    #[test]
    fn a_path_is_one_word_of_a_shell() {
        let word = |bytes: &[u8], charset| word_for(Path::new(OsStr::from_bytes(bytes)), charset);
        for (bytes, utf8, ascii) in [
            (&b"/a/b-1.c"[..], "/a/b-1.c", "/a/b-1.c"),
            (b"/a b", "'/a b'", "'/a b'"),
            (b"/it's", "\"/it's\"", "\"/it's\""),
            ("/Zo\u{eb}".as_bytes(), "'/Zo\u{eb}'", "$'/Zo\\xc3\\xab'"),
            (b"/Zo\xeb '", "$'/Zo\\xeb \\''", "$'/Zo\\xeb \\''"),
            (b"/a\nb", "$'/a\\x0ab'", "$'/a\\x0ab'"),
            // A command never contains the mark that surrounds commands.
            (b"/a`b c", "$'/a\\x60b c'", "$'/a\\x60b c'"),
        ] {
            assert_eq!(word(bytes, Charset::Utf8), utf8);
            assert_eq!(word(bytes, Charset::Ascii), ascii);
            // Bash must read the word as the original path.
            for quoted in [utf8, ascii] {
                let printed = ["-c", &format!("printf %s {quoted}")];
                let said = Command::new("bash").args(printed).output().unwrap();
                assert_eq!(said.stdout, bytes, "{quoted}");
            }
        }
    }

    #[test]
    fn a_paragraph_keeps_its_lines_and_their_indents() {
        assert_eq!(paragraph("a\n  b c\n\n", "  ", 92), "  a\n    b c\n\n");
        assert_eq!(paragraph("one  two three", "> ", 9), "> one two\n> three\n");
    }

    #[test]
    fn a_moment_of_another_day_shows_the_day() {
        let now = 1_700_000_000.0;
        assert_eq!(moment(now, now).len(), "22:13:20".len());
        assert!(moment(now - 86_400.0 * 2.0, now).starts_with("Nov 1"));
    }
}
