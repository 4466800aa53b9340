//! Which variations make a package differ: by halves. Pure: somebody else rebuilds.

use crate::record::audit::{Bisection, Variation};

/// A search in progress: `next` says what to vary, `heard` what came of it.
#[derive(Debug, Clone)]
pub struct Search {
    stage: Stage,
    /// Sets that are known to make it differ, with what is known of their halves.
    open: Vec<Halves>,
    found: Bisection,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Stage {
    /// Without any variation.
    Bare(Vec<Variation>),
    Halves,
}

#[derive(Debug, Clone)]
struct Halves {
    left: Vec<Variation>,
    right: Vec<Variation>,
    left_differs: Option<bool>,
}

impl Search {
    /// A package that differs when all of these are varied.
    pub fn new(varied: &[Variation]) -> Self {
        Self {
            stage: Stage::Bare(varied.to_vec()),
            open: Vec::new(),
            found: Bisection::default(),
        }
    }

    /// What to vary in the next rebuild; none when all is known.
    pub fn next(&self) -> Option<&[Variation]> {
        if let Stage::Bare(_) = self.stage {
            return Some(&[]);
        }
        let halves = self.open.last()?;
        Some(match halves.left_differs {
            None => &halves.left,
            Some(_) => &halves.right,
        })
    }

    /// Takes what came of it: whether the package differs, or fails.
    pub fn heard(&mut self, differs: bool) {
        self.found.rebuilds += 1;
        if let Stage::Bare(all) = std::mem::replace(&mut self.stage, Stage::Halves) {
            self.found.unvaried = differs;
            if !differs {
                self.enter(all);
            }
            return;
        }
        let Some(mut halves) = self.open.pop() else {
            return;
        };
        let Some(left_differs) = halves.left_differs else {
            halves.left_differs = Some(differs);
            self.open.push(halves);
            return;
        };
        let Halves { left, right, .. } = halves;
        match (left_differs, differs) {
            (false, false) => {
                let mut together = [left, right].concat();
                together.sort_unstable();
                self.found.together.push(together);
            }
            (left_differs, right_differs) => {
                if right_differs {
                    self.enter(right);
                }
                if left_differs {
                    self.enter(left);
                }
            }
        }
    }

    /// A set that makes it differ.
    fn enter(&mut self, mut set: Vec<Variation>) {
        match set.as_slice() {
            [] => {}
            [one] => self.found.alone.push(*one),
            _ => {
                let right = set.split_off(set.len() / 2);
                self.open.push(Halves {
                    left: set,
                    right,
                    left_differs: None,
                });
            }
        }
    }

    /// What was found.
    pub fn finish(mut self) -> Bisection {
        self.found.alone.sort_unstable();
        self.found.together.sort();
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn search(all: &[Variation], differs: impl Fn(&[Variation]) -> bool) -> Bisection {
        let mut search = Search::new(all);
        while let Some(set) = search.next() {
            let answer = differs(set);
            search.heard(answer);
        }
        search.finish()
    }

    #[test]
    fn what_differs_without_any_variation_is_not_searched_for() {
        let found = search(&Variation::ALL, |_| true);
        assert!(found.unvaried);
        assert_eq!((found.rebuilds, found.alone), (1, Vec::new()));
    }

    #[test]
    fn two_that_only_work_together_are_named_together() {
        use Variation::{Locale, Umask};
        let found = search(&[Locale, Umask], |set| {
            set.contains(&Locale) && set.contains(&Umask)
        });
        assert_eq!(found.alone, []);
        assert_eq!(found.together, [[Locale, Umask]]);
    }

    #[test]
    fn one_of_twelve_takes_no_more_than_nine_rebuilds() {
        for guilty in Variation::ALL {
            let found = search(&Variation::ALL, |set| set.contains(&guilty));
            assert_eq!(found.alone, [guilty]);
            assert!(found.rebuilds <= 9, "{guilty}: {}", found.rebuilds);
        }
    }

    proptest! {
        #[test]
        fn all_that_do_it_alone_are_found(guilty in proptest::sample::subsequence(Variation::ALL.to_vec(), 1..=12)) {
            let found = search(&Variation::ALL, |set| set.iter().any(|one| guilty.contains(one)));
            prop_assert!(!found.unvaried);
            prop_assert_eq!(found.alone, guilty);
            prop_assert!(found.together.is_empty());
        }
    }
}
