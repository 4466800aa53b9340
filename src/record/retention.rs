//! Which runs stay, by the rule of the project (`keep` of `[store]`). Pure.

use std::collections::BTreeSet;

use time::Date;
use time::macros::format_description;

use crate::documents::config::Keep;

/// A run, as far as the rule looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its name, which begins with its start in UTC (`20260102-030405-1`).
    pub name: String,
    /// Bytes that it alone holds, in the order from the newest run to the oldest.
    pub size: u64,
    /// Whether every package was built in it.
    pub good: bool,
}

/// What becomes of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It stays, and why.
    Stays(String),
    /// It goes, and why.
    Goes(String),
}

/// What becomes of each of `runs`, which are in the order of their names.
///
/// The newest run stays always, and so does the newest in which every package was built.
pub fn decide(runs: &[Candidate], keep: &Keep) -> Vec<Fate> {
    let mut fates = vec![None; runs.len()];
    by_count(&mut fates, keep);
    by_period(runs, &mut fates, keep);
    if let Some(good) = runs.iter().rposition(|run| run.good) {
        let fate = fates[good].take();
        fates[good] = fate.or_else(|| Some("the newest in which everything was built".to_owned()));
    }
    let spared = runs.iter().rposition(|run| run.good);
    let mut total: u64 = 0;
    let mut decided = Vec::new();
    for (index, (run, fate)) in runs.iter().zip(fates).enumerate().rev() {
        let room = keep
            .max_size
            .is_none_or(|most| total.saturating_add(run.size) <= most);
        let must = index + 1 == runs.len() || Some(index) == spared;
        decided.push(match fate {
            Some(why) if room || must => {
                total = total.saturating_add(run.size);
                Fate::Stays(why)
            }
            Some(_) => Fate::Goes("more than keep.max_size".to_owned()),
            None => Fate::Goes(beyond(keep)),
        });
    }
    decided.reverse();
    decided
}

fn by_count(fates: &mut [Option<String>], keep: &Keep) {
    for (number, fate) in fates.iter_mut().rev().take(keep.last as usize).enumerate() {
        *fate = Some(match (number, keep.last) {
            (0, _) => "the newest".to_owned(),
            (_, last) => format!("one of the newest {last}"),
        });
    }
}

/// The newest of each day and of each week: of those that have any.
fn by_period(runs: &[Candidate], fates: &mut [Option<String>], keep: &Keep) {
    let (mut days, mut weeks) = (BTreeSet::new(), BTreeSet::new());
    for (run, fate) in runs.iter().zip(fates).rev() {
        let Some(date) = date(&run.name) else {
            continue;
        };
        let mut why = Vec::new();
        if days.len() < keep.daily as usize && days.insert(date) {
            why.push(format!("the newest of {date}"));
        }
        let (year, week, _) = date.to_iso_week_date();
        if weeks.len() < keep.weekly as usize && weeks.insert((year, week)) {
            why.push(format!("the newest of week {week} of {year}"));
        }
        if fate.is_none() && !why.is_empty() {
            *fate = Some(why.join(", "));
        }
    }
}

fn beyond(keep: &Keep) -> String {
    let mut rule = vec![format!("last = {}", keep.last)];
    for (name, number) in [("daily", keep.daily), ("weekly", keep.weekly)] {
        if number > 0 {
            rule.push(format!("{name} = {number}"));
        }
    }
    format!("beyond keep = {{ {} }}", rule.join(", "))
}

/// The day of a run's start.
fn date(name: &str) -> Option<Date> {
    let day = name.get(..8)?;
    Date::parse(day, format_description!("[year][month][day]")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(runs: &[(&str, u64, bool)]) -> Vec<Candidate> {
        let make = |&(name, size, good): &(&str, u64, bool)| Candidate {
            name: name.to_owned(),
            size,
            good,
        };
        runs.iter().map(make).collect()
    }

    fn told(runs: &[Candidate], keep: &Keep) -> String {
        let line = |(run, fate): (&Candidate, Fate)| match fate {
            Fate::Stays(why) => format!("{} stays: {why}", run.name),
            Fate::Goes(why) => format!("{} goes: {why}", run.name),
        };
        let fates = decide(runs, keep);
        runs.iter()
            .zip(fates)
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn the_newest_of_days_and_weeks_stay() {
        let runs = candidates(&[
            ("20260104-030000-1", 1, true),
            ("20260105-030000-1", 1, true),
            ("20260110-030000-1", 1, true),
            ("20260111-030000-1", 1, true),
            ("20260111-040000-1", 1, true),
            ("20260112-030000-1", 1, false),
            ("20260112-040000-1", 1, false),
        ]);
        let keep = Keep {
            last: 1,
            daily: 2,
            weekly: 3,
            ..Keep::default()
        };
        insta::assert_snapshot!(told(&runs, &keep), @"
        20260104-030000-1 stays: the newest of week 1 of 2026
        20260105-030000-1 goes: beyond keep = { last = 1, daily = 2, weekly = 3 }
        20260110-030000-1 goes: beyond keep = { last = 1, daily = 2, weekly = 3 }
        20260111-030000-1 goes: beyond keep = { last = 1, daily = 2, weekly = 3 }
        20260111-040000-1 stays: the newest of 2026-01-11, the newest of week 2 of 2026
        20260112-030000-1 goes: beyond keep = { last = 1, daily = 2, weekly = 3 }
        20260112-040000-1 stays: the newest
        ");
    }

    #[test]
    fn the_oldest_go_where_all_is_too_much_but_never_the_newest_good_one() {
        let runs = candidates(&[
            ("20260101-030000-1", 1, true),
            ("20260102-030000-1", 5, true),
            ("20260103-030000-1", 5, false),
            ("20260104-030000-1", 9, false),
        ]);
        let keep = Keep {
            last: 10,
            max_size: Some(15),
            ..Keep::default()
        };
        insta::assert_snapshot!(told(&runs, &keep), @"
        20260101-030000-1 goes: more than keep.max_size
        20260102-030000-1 stays: one of the newest 10
        20260103-030000-1 stays: one of the newest 10
        20260104-030000-1 stays: the newest
        ");
        assert_eq!(decide(&[], &keep), []);
    }

    #[test]
    fn a_good_run_stays_beyond_the_count() {
        let runs = candidates(&[
            ("20260101-030000-1", 1, true),
            ("20260102-030000-1", 1, false),
        ]);
        let keep = Keep {
            last: 1,
            ..Keep::default()
        };
        insta::assert_snapshot!(told(&runs, &keep), @"
        20260101-030000-1 stays: the newest in which everything was built
        20260102-030000-1 stays: the newest
        ");
    }
}
