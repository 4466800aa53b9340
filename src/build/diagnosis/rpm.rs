//! What rpm and rpmbuild say themselves about a failure.

/// Errors that are kept.
const MOST: usize = 64;

/// rpm's own errors, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct RpmErrors {
    errors: Vec<String>,
    in_errors: bool,
}

impl RpmErrors {
    pub(super) fn take(&mut self, line: &str) {
        if self.errors.len() == MOST {
            return;
        }
        // rpm repeats its own errors at the end, under this heading.
        if line == "RPM build errors:" {
            self.in_errors = true;
        } else if (self.in_errors && line.starts_with("   ")) || line.starts_with("error: ") {
            // What a heading announces follows it, indented.
            self.in_errors |= line.ends_with(':');
            self.errors
                .push(line.trim().trim_start_matches("error: ").to_owned());
        } else if line.contains(" is needed by ") {
            self.errors.push(line.trim().to_owned());
        }
    }

    fn missing(&self) -> Vec<&str> {
        let needed = |error: &'_ String| error.contains(" is needed by ");
        let missing = self.errors.iter().filter(|error| needed(error));
        let named = missing.filter_map(|error| error.split(" is needed by ").next());
        named.collect()
    }

    /// Whether rpm names something that is needed.
    pub(super) fn misses_something(&self) -> bool {
        !self.missing().is_empty()
    }

    /// All in a few words.
    pub(super) fn reason(&self) -> Option<String> {
        let missing = self.missing();
        if !missing.is_empty() {
            return Some(format!("missing: {}", missing.join(", ")));
        }
        self.first().map(|error| error.replace("/builddir/", ""))
    }

    /// The first error; what a heading announces with a colon comes on lines of its own.
    fn first(&self) -> Option<String> {
        let (first, rest) = self.errors.split_first()?;
        if !first.ends_with(':') {
            return Some(first.clone());
        }
        let mut named: Vec<&str> = rest
            .iter()
            .map(String::as_str)
            .take_while(|error| error != first)
            .collect();
        named.dedup();
        Some(format!("{first} {}", named.join(", ")))
    }
}

/// Whether a line only says that the build ended badly, as rpmbuild does after each failure.
pub(super) fn is_closing(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty()
        || line == "RPM build errors:"
        || line
            .trim_start_matches("error: ")
            .starts_with("Bad exit status from ")
        || line.starts_with("RPM build warnings:")
}
