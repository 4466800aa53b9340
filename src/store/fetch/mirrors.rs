//! In which order, and when, the mirrors of one file are tried. Pure: the time is passed in.

use tokio::time::Instant;

use super::FetchOptions;
use super::error::{Failed, Problem, Retry, Tried, shown};

/// The mirrors of one file.
#[derive(Debug)]
pub(super) struct Mirrors<'a> {
    /// In the order in which they are tried.
    all: Vec<Mirror<'a>>,
    /// The one that is to be tried once more before any other.
    again: Option<usize>,
    options: &'a FetchOptions,
}

#[derive(Debug)]
struct Mirror<'a> {
    url: &'a str,
    times: u32,
    /// When it may be tried again; `None` once it is given up, or before the first try.
    ready: Option<Instant>,
    given_up: bool,
    problem: Option<Problem>,
}

impl<'a> Mirrors<'a> {
    /// All mirrors, those behind that do not answer to anybody (`reachable`).
    pub(super) fn new(
        urls: &'a [String],
        reachable: impl Fn(&str) -> bool,
        options: &'a FetchOptions,
    ) -> Self {
        let mirror = |url: &'a String| Mirror {
            url,
            times: 0,
            ready: None,
            given_up: false,
            problem: None,
        };
        let mut all: Vec<_> = urls.iter().map(mirror).collect();
        all.sort_by_key(|mirror| !reachable(mirror.url));
        Self {
            all,
            again: None,
            options,
        }
    }

    /// The mirror to try next, and when: the first of those that are ready soonest.
    pub(super) fn next(&self, now: Instant) -> Option<(usize, Instant)> {
        if let Some(mirror) = self.again {
            return Some((mirror, now));
        }
        let candidates = self
            .all
            .iter()
            .enumerate()
            .filter(|(_, mirror)| !mirror.given_up);
        candidates
            .map(|(index, mirror)| (index, mirror.ready.unwrap_or(now).max(now)))
            .min_by_key(|&(_, ready)| ready)
    }

    pub(super) fn url(&self, mirror: usize) -> &'a str {
        self.all[mirror].url
    }

    /// Notes a failure: gives the mirror up, or pauses it for twice as long as the last time,
    /// or as long as it asks for. Without any pause, it is the next again.
    pub(super) fn failed(&mut self, mirror: usize, mut problem: Problem, now: Instant) {
        let options = self.options;
        let index = mirror;
        let mirror = &mut self.all[index];
        mirror.times += 1;
        let factor = 1_u32.checked_shl(mirror.times - 1).unwrap_or(u32::MAX);
        let own = options
            .first_pause
            .saturating_mul(factor)
            .min(options.longest_pause);
        let pause = match problem.retry {
            Retry::After(asked) => asked.max(own),
            Retry::Later | Retry::AtOnce | Retry::Never => own,
        };
        let too_long = pause > options.longest_pause;
        if too_long {
            problem.reason = format!(
                "{}, and asks to come back after {} s",
                problem.reason,
                pause.as_secs()
            );
        }
        mirror.given_up =
            too_long || problem.retry == Retry::Never || mirror.times >= options.attempts;
        mirror.ready = Some(now + pause);
        self.again = (problem.retry == Retry::AtOnce && !mirror.given_up).then_some(index);
        mirror.problem = Some(problem);
    }

    /// What to tell when none is left.
    pub(super) fn into_failed(self, name: String) -> Failed {
        let lasting = |mirror: &Mirror<'_>| {
            mirror
                .problem
                .as_ref()
                .is_none_or(|problem| problem.retry == Retry::Never)
        };
        let gone = self.all.iter().all(lasting);
        let tried = self.all.into_iter().map(|mirror| Tried {
            url: shown(mirror.url),
            times: mirror.times,
            reason: mirror
                .problem
                .map_or_else(String::new, |problem| problem.reason),
        });
        Failed {
            name,
            tried: tried.collect(),
            gone,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Tries until none is left; returns which mirror was tried after how many milliseconds.
    fn play(
        urls: &[String],
        options: &FetchOptions,
        outcome: impl Fn(&str) -> Problem,
    ) -> Vec<(String, u128)> {
        let start = Instant::now();
        let mut now = start;
        let mut mirrors = Mirrors::new(urls, |url| url != "down", options);
        let mut played = Vec::new();
        while let Some((mirror, ready)) = mirrors.next(now) {
            now = ready;
            let url = mirrors.url(mirror);
            played.push((url.to_owned(), (now - start).as_millis()));
            mirrors.failed(mirror, outcome(url), now);
        }
        played
    }

    fn urls(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn the_order_and_the_pauses_are_fixed() {
        let options = FetchOptions {
            attempts: 3,
            ..FetchOptions::default()
        };
        let after = |seconds| Problem {
            retry: Retry::After(Duration::from_secs(seconds)),
            ..Problem::passing("503")
        };
        let outcome = |url: &str| match url {
            "gone" => Problem::lasting("404 Not Found"),
            "patient" => after(2),
            "sleepy" => after(3600),
            "mixed" => Problem::again("mixed"),
            _ => Problem::passing("broken"),
        };
        let cases = [
            ("a", "a0 a250 a750"),
            ("a gone b", "a0 gone0 b0 a250 b250 a750 b750"),
            ("patient a", "patient0 a0 a250 a750 patient2000 patient4000"),
            ("down sleepy gone", "sleepy0 gone0 down0 down250 down750"),
            ("mixed gone", "mixed0 mixed0 mixed0 gone0"),
        ];
        for (names, expected) in cases {
            let names: Vec<&str> = names.split(' ').collect();
            let played = play(&urls(&names), &options, outcome);
            let played: Vec<String> = played
                .into_iter()
                .map(|(url, at)| format!("{url}{at}"))
                .collect();
            assert_eq!(played.join(" "), expected);
        }
    }

    #[test]
    fn a_file_is_gone_only_where_every_mirror_says_so() {
        let options = FetchOptions {
            attempts: 1,
            ..FetchOptions::default()
        };
        let names = urls(&["a", "b"]);
        for (problem, gone) in [
            (Problem::lasting("x"), true),
            (Problem::passing("x"), false),
        ] {
            let mut mirrors = Mirrors::new(&names, |_| true, &options);
            mirrors.failed(0, Problem::lasting("404 Not Found"), Instant::now());
            mirrors.failed(1, problem, Instant::now());
            assert!(mirrors.next(Instant::now()).is_none());
            assert_eq!(mirrors.into_failed("x".to_owned()).gone, gone);
        }
    }

    #[test]
    fn pauses_do_not_overflow() {
        let options = FetchOptions {
            attempts: 100,
            ..FetchOptions::default()
        };
        let played = play(&urls(&["a"]), &options, |_| Problem::passing("broken"));
        assert_eq!(played.len(), 100);
        assert_eq!(played[99].1 - played[98].1, 60_000);
    }
}
