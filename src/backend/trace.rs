//! What a command uses of its environment, as seen from outside of its sandbox.
//!
//! Nothing that runs inside can add to it or take from it: the kernel tells, not the command. What each means can miss
//! is said in `docs/declared.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a command is watched for: the folders whose files count, and the names that are asked after at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Absolute paths inside, each with names of files and links in it.
    pub folders: BTreeMap<String, Vec<String>>,
}

impl Watched {
    /// Adds a folder, and with `named` the file's name in it.
    pub fn insert(&mut self, path: &str, named: bool) {
        let Some((folder, name)) = path.rsplit_once('/') else {
            return;
        };
        let folder = if folder.is_empty() { "/" } else { folder };
        let inside = match self.folders.get_mut(folder) {
            Some(inside) => inside,
            None => self.folders.entry(folder.to_owned()).or_default(),
        };
        if named {
            inside.push(name.to_owned());
        }
    }
}

/// What was done with a file, the strongest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Touch {
    /// Its name was looked up: it was asked whether it is there, or it is a link that was followed.
    LookedUp,
    /// It was opened.
    Opened,
    /// It was executed.
    Executed,
}

/// What was seen of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Touched {
    /// What was done with it.
    pub touch: Touch,
    /// The program that did it first, where the kernel tells.
    pub process: Option<String>,
    /// Where it leads, for a symbolic link.
    pub target: Option<String>,
}

/// All that was seen of one command.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// Absolute paths inside.
    pub files: BTreeMap<String, Touched>,
    /// Whether the kernel told which process it was.
    pub processes: bool,
    /// Whether events were lost, since more came than could be kept.
    pub lost: bool,
}

impl Trace {
    /// Notes what was seen of a file; the strongest stays, with the process that did it first.
    pub fn note(&mut self, path: String, seen: Touched) {
        match self.files.get_mut(&path) {
            Some(known) if known.touch >= seen.touch => {}
            Some(known) => *known = seen,
            None => drop(self.files.insert(path, seen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_strongest_use_stays_with_who_began_it() {
        let seen = |touch, process: &str| Touched {
            touch,
            process: Some(process.to_owned()),
            target: None,
        };
        let mut trace = Trace::default();
        for (touch, process) in [
            (Touch::Opened, "sh"),
            (Touch::Opened, "cat"),
            (Touch::Executed, "make"),
            (Touch::LookedUp, "test"),
        ] {
            trace.note("/usr/bin/x".to_owned(), seen(touch, process));
        }
        assert_eq!(trace.files["/usr/bin/x"], seen(Touch::Executed, "make"));
    }

    #[test]
    fn folders_are_watched_with_the_names_that_are_asked_after() {
        let mut watched = Watched::default();
        for (path, named) in [("/a", true), ("/usr/bin/b", false), ("/usr/bin/c", true)] {
            watched.insert(path, named);
        }
        let folders: Vec<_> = watched
            .folders
            .iter()
            .map(|(folder, names)| (folder.as_str(), names.join(" ")))
            .collect();
        assert_eq!(
            folders,
            [("/", "a".to_owned()), ("/usr/bin", "c".to_owned())]
        );
    }
}
