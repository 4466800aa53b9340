//! Which name was meant by one that does not exist.

/// A name is nearly right where no more of its characters, in percent, are wrong.
const WRONG: usize = 25;
/// And no more than these.
const MOST: usize = 3;
/// In a name of so many characters one may be wrong, whatever the part.
const SHORT: usize = 3;

/// Looks for the name most like a wanted one, where one is like it at all.
#[derive(Debug)]
pub struct Nearest<'a> {
    wanted: &'a str,
    limit: usize,
    best: Option<(usize, String)>,
}

impl<'a> Nearest<'a> {
    /// Nothing is found yet.
    pub fn new(wanted: &'a str) -> Self {
        let length = wanted.chars().count();
        let least = usize::from(length >= SHORT);
        Self {
            wanted,
            limit: (length * WRONG / 100).clamp(least, MOST),
            best: None,
        }
    }

    /// Takes `candidate` where it is nearer than all before, or as near and earlier in the alphabet.
    pub fn consider(&mut self, candidate: &str) {
        let least = self.best.as_ref().map_or(self.limit, |(least, _)| *least);
        let alike = candidate.starts_with('/') == self.wanted.starts_with('/')
            && candidate.len().abs_diff(self.wanted.len()) <= 4 * least;
        if !alike {
            return;
        }
        let distance = strsim::damerau_levenshtein(self.wanted, candidate);
        let better = match &self.best {
            None => distance <= self.limit,
            Some((least, known)) => (distance, candidate) < (*least, known.as_str()),
        };
        if better {
            self.best = Some((distance, candidate.to_owned()));
        }
    }

    /// The name.
    pub fn found(self) -> Option<String> {
        self.best.map(|(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_were_meant_are_found_and_others_are_not() {
        let names = [
            "zlib-devel",
            "zlib",
            "zlib-static",
            "openssl-devel",
            "/usr/bin/python3",
            "gcc",
        ];
        for (wanted, expected) in [
            ("zlib-dvel", Some("zlib-devel")),
            ("zlib-dev", Some("zlib-devel")),
            ("opensl-devel", Some("openssl-devel")),
            ("/usr/bin/python", Some("/usr/bin/python3")),
            ("gc", None),
            ("gcx", Some("gcc")),
            ("qqq", None),
            ("", None),
            ("completely-different", None),
        ] {
            let mut nearest = Nearest::new(wanted);
            for name in names {
                nearest.consider(name);
            }
            assert_eq!(nearest.found().as_deref(), expected, "{wanted}");
        }
    }
}
