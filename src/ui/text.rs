//! Figures and the text of strangers, as people read them.

use std::time::Duration;

/// A duration as people read it: `0.42 s`, `7.3 s`, `2 min 05 s`.
pub fn seconds(took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if seconds < 1.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", took.as_secs() / 60, took.as_secs() % 60)
    }
}

/// Bytes as people read them, in binary units.
pub fn size(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// An estimate, no more exact than it is: `about 12 min left`.
pub(super) fn left(rest: Duration) -> String {
    match rest.as_secs() {
        seconds @ 0..10 => format!("about {} s left", seconds.max(1)),
        seconds @ 10..90 => format!("about {} s left", (seconds + 5) / 10 * 10),
        seconds @ 90..5400 => format!("about {} min left", (seconds + 30) / 60),
        seconds => {
            let minutes = (seconds + 30) / 60;
            format!("about {} h {:02} min left", minutes / 60, minutes % 60)
        }
    }
}

/// The time of day in UTC.
pub(super) fn time_of_day(since_1970: Duration) -> String {
    let seconds = since_1970.as_secs() % 86_400;
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// Text of strangers without control characters, so that a build log cannot drive the terminal.
pub(super) fn clean(text: &str, keep_lines: bool) -> String {
    text.chars()
        .filter_map(|c| match c {
            '\n' if keep_lines => Some(c),
            '\t' => Some(' '),
            c if c.is_control() => None,
            c => Some(c),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_well() {
        for (millis, text) in [(40, "0.04 s"), (7300, "7.3 s"), (125_000, "2 min 05 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
        for (seconds, text) in [
            (0, "about 1 s left"),
            (34, "about 30 s left"),
            (100, "about 2 min left"),
            (7500, "about 2 h 05 min left"),
        ] {
            assert_eq!(left(Duration::from_secs(seconds)), text);
        }
        assert_eq!(time_of_day(Duration::from_secs(86_400 + 3723)), "01:02:03");
    }

    #[test]
    fn strangers_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[31mb\r\nc\u{9b}d", false), "a[31mbcd");
        assert_eq!(clean("a\n  b", true), "a\n  b");
    }
}
