//! Times and estimates, as people read them.

use std::time::Duration;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
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
}
