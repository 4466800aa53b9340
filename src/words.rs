//! Durations, sizes and the text of strangers, as people read them.

use std::time::Duration;

use vte::{Parser, Perform};

/// A duration as people read it: `0.42 s`, `7.3 s`, `2 min 05 s`, `1 h 02 min`.
pub fn seconds(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 1.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else if seconds < 3600.0 {
        format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    } else {
        let minutes = took.as_secs() / 60;
        format!("{} h {:02} min", minutes / 60, minutes % 60)
    }
}

/// Bytes as people read them, in binary units.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Text of strangers that can drive neither a terminal nor a reader's eye: escape sequences and control
/// characters are taken out, tabs become blanks, characters that turn the direction of text are spelled out.
pub fn clean(text: &str, keep_lines: bool) -> String {
    let mut cleaned = Cleaned(String::with_capacity(text.len()));
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 && keep_lines {
            cleaned.0.push('\n');
        }
        // A sequence that does not end hides no more than its line.
        Parser::new().advance(&mut cleaned, line.as_bytes());
    }
    cleaned.0
}

/// What a terminal would print.
struct Cleaned(String);

impl Perform for Cleaned {
    fn print(&mut self, c: char) {
        match c {
            '\u{61c}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                self.0.extend(format!("<U+{:04X}>", u32::from(c)).chars());
            }
            c if c.is_control() => {}
            c => self.0.push(c),
        }
    }

    fn execute(&mut self, byte: u8) {
        if byte == b'\t' {
            self.0.push(' ');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, text) in [
            (40, "0.04 s"),
            (7300, "7.3 s"),
            (125_000, "2 min 05 s"),
            (3_725_000, "1 h 02 min"),
        ] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        for (text, cleaned) in [
            ("a\x1b[31mb\r\nc\u{9b}d", "abcd"),
            ("a\tb\x07", "a b"),
            ("\x1b]0;title\x07a\x1b]8;;http://x\x1b\\b", "ab"),
            ("a\x1b]0;no end\nb", "ab"),
            ("ü\u{202e}gnp.exe", "ü<U+202E>gnp.exe"),
            ("\x1b(0lqk\x1b[2J", "lqk"),
        ] {
            assert_eq!(clean(text, false), cleaned, "{text:?}");
        }
        assert_eq!(clean("a\n  b", true), "a\n  b");
    }
}
