//! What a comparison has found so far, and what it may still spend.

use super::cause::{Cause, Finding, Format};
use super::conditions::Conditions;
use super::difference::{Comparison, Difference, Evidence, Kind, MOST, shortened};

/// Bytes that may come out of archives and compressed files inside one pair of files.
const UNPACKED: u64 = 512 << 20;
/// How deep files may lie in files.
const DEEPEST: usize = 8;

/// Where something is, from the outside to the inside.
#[derive(Debug, Clone, Default)]
pub(super) struct Place(Vec<String>);

impl Place {
    pub(super) fn of(name: impl Into<String>) -> Self {
        Self(vec![name.into()])
    }

    pub(super) fn inside(&self, name: impl Into<String>) -> Self {
        let mut place = self.0.clone();
        place.push(name.into());
        Self(place)
    }

    /// Whether files inside are still looked into.
    pub(super) fn is_deepest(&self) -> bool {
        self.0.len() > DEEPEST
    }

    /// The last name: the file, the member or the section.
    pub(super) fn name(&self) -> &str {
        self.0.last().map_or("", String::as_str)
    }
}

/// Differences as they are found.
pub(super) struct Found<'a> {
    pub(super) conditions: &'a Conditions,
    differences: Vec<Difference>,
    by_nature: Vec<Difference>,
    left_out: u64,
    budget: u64,
}

impl<'a> Found<'a> {
    pub(super) fn new(conditions: &'a Conditions) -> Self {
        Self {
            conditions,
            differences: Vec::new(),
            by_nature: Vec::new(),
            left_out: 0,
            budget: UNPACKED,
        }
    }

    /// How many differences there are.
    pub(super) fn count(&self) -> u64 {
        self.differences.len() as u64 + self.left_out
    }

    /// Whether no more differences are listed.
    pub(super) fn is_full(&self) -> bool {
        self.differences.len() >= MOST
    }

    /// Begins with the next pair of files, which may unpack as much as the one before.
    pub(super) fn refill(&mut self) {
        self.budget = UNPACKED;
    }

    /// Bytes that may still be unpacked.
    pub(super) fn budget(&self) -> u64 {
        self.budget
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.budget = self.budget.saturating_sub(bytes as u64);
    }

    #[expect(
        clippy::too_many_arguments,
        clippy::needless_pass_by_value,
        reason = "what a difference is made of, and made for it"
    )]
    pub(super) fn add(
        &mut self,
        place: &Place,
        kind: Kind,
        format: Format,
        finding: Finding,
        evidence: Option<Evidence>,
    ) {
        if self.is_full() {
            self.left_out += 1;
            return;
        }
        let remedy = finding.remedy(format);
        self.differences
            .push(difference(place, kind, &finding, remedy, evidence));
    }

    /// A difference that must be there.
    pub(super) fn by_nature(
        &mut self,
        place: &Place,
        kind: Kind,
        because: &str,
        evidence: Option<Evidence>,
    ) {
        if self.by_nature.len() < MOST {
            let finding = Finding::new(Cause::Consequence, because);
            self.by_nature
                .push(difference(place, kind, &finding, String::new(), evidence));
        }
    }

    /// Two values that are no bytes of a file.
    #[expect(clippy::too_many_arguments, reason = "what a difference is made of")]
    pub(super) fn values(
        &mut self,
        place: &Place,
        kind: Kind,
        format: Format,
        finding: Finding,
        (first, second): (String, String),
    ) {
        let evidence = Some(Evidence::values(first, second));
        self.add(place, kind, format, finding, evidence);
    }

    /// Since a mark (`count`), only causes that are unknown: they follow from what was found before it.
    pub(super) fn unknown_since(&mut self, mark: u64, because: &str) {
        let Ok(mark) = usize::try_from(mark) else {
            return;
        };
        for difference in self
            .differences
            .iter_mut()
            .skip(mark)
            .filter(|difference| difference.cause == Cause::Unknown)
        {
            difference.cause = Cause::Consequence;
            because.clone_into(&mut difference.because);
            difference.remedy.clear();
        }
    }

    /// The causes found since a mark.
    pub(super) fn causes_since(&self, mark: u64) -> impl Iterator<Item = Cause> {
        let mark = usize::try_from(mark).unwrap_or(usize::MAX);
        self.differences
            .iter()
            .skip(mark)
            .map(|difference| difference.cause)
    }

    /// Says for every difference since a mark where the file comes from.
    pub(super) fn origin_since(&mut self, mark: u64, origin: &str) {
        let mark = usize::try_from(mark).unwrap_or(usize::MAX);
        for difference in self.differences.iter_mut().skip(mark) {
            origin.clone_into(&mut difference.origin);
        }
    }

    pub(super) fn finish(self) -> Comparison {
        Comparison::new(self.differences, self.by_nature, self.left_out)
    }
}

fn difference(
    place: &Place,
    kind: Kind,
    finding: &Finding,
    remedy: String,
    evidence: Option<Evidence>,
) -> Difference {
    Difference {
        place: place.0.clone(),
        kind,
        evidence,
        cause: finding.cause,
        because: shortened(&finding.because),
        remedy,
        origin: String::new(),
    }
}
