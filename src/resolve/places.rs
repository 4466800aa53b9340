//! Where a project's files ask for something: `packages/foo/foo.spec:12 (BuildRequires)`, for messages.

use std::collections::BTreeMap;
use std::path::Path;

use crate::documents::config::{Package, Project};
use crate::documents::recipe::Recipe;
use crate::documents::template::Template;
use crate::rpm::Dependency;

/// The texts of the project's files. What cannot be read has no lines.
#[derive(Debug, Default)]
pub struct Places {
    template: Document,
    recipe: Document,
    specs: BTreeMap<String, Document>,
}

#[derive(Debug, Default)]
struct Document {
    shown: String,
    text: String,
}

impl Document {
    fn read(directory: &Path, path: &Path) -> Self {
        let shown = path.strip_prefix(directory).unwrap_or(path);
        Self {
            shown: shown.display().to_string(),
            text: fs_err::read_to_string(directory.join(path)).unwrap_or_default(),
        }
    }

    /// The file, with the line that `fits` where there is one.
    fn at(&self, fits: impl Fn(&str) -> bool) -> String {
        match self.text.lines().position(fits) {
            Some(line) => format!("{}:{}", self.shown, line + 1),
            None => self.shown.clone(),
        }
    }

    /// Where a TOML file has `text` as a whole string.
    fn string(&self, text: &str) -> String {
        let quoted = [format!("\"{text}\""), format!("'{text}'")];
        let has = |line: &str| {
            !line.trim_start().starts_with('#') && quoted.iter().any(|text| line.contains(text))
        };
        self.at(has)
    }

    /// Where a spec has `capability` under a tag that begins with `tag`. What comes from macros is not found.
    fn tagged(&self, tag: &str, capability: &str) -> String {
        let dependency: Dependency = capability
            .parse()
            .unwrap_or_else(|_| Dependency::new(capability, None));
        let has = |line: &str| {
            let Some((before, after)) = line.split_once(':') else {
                return false;
            };
            let is_tag = before
                .get(..tag.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(tag));
            let mut words = after.split(|letter: char| letter.is_whitespace() || letter == ',');
            is_tag && (after.trim() == capability || words.any(|word| word == dependency.name()))
        };
        self.at(has)
    }
}

impl Places {
    /// Reads the files.
    pub fn read(
        project: &Project,
        template: &Template,
        recipe: Option<&Recipe>,
        packages: &[Package],
    ) -> Self {
        let read = |path: &Path| Document::read(&project.directory, path);
        let spec = |package: &Package| {
            let path = Path::new(package.spec.as_str());
            (package.name.to_string(), read(path))
        };
        Self {
            template: read(&template.path),
            recipe: recipe.map(|recipe| read(&recipe.path)).unwrap_or_default(),
            specs: packages.iter().map(spec).collect(),
        }
    }

    /// A package or tool of the template.
    pub fn template(&self, text: &str) -> String {
        self.template.string(text)
    }

    /// A package of the recipe.
    pub fn recipe(&self, text: &str) -> String {
        self.recipe.string(text)
    }

    /// A dependency of the project's package `name`, under `BuildRequires` or `Requires`.
    pub fn spec(&self, name: &str, tag: &str, capability: &str) -> String {
        match self.specs.get(name) {
            Some(spec) => format!("{} ({tag})", spec.tagged(tag, capability)),
            None => format!("package {name} ({tag})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(text: &str) -> Document {
        Document {
            shown: "file".to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn lines_are_found() {
        let spec = document(
            "Name: x\n# BuildRequires: a\nBuildRequires: gcc, make >= 4\nbuildrequires(x):(a or b)\nRequires:  gcc\n",
        );
        for (tag, capability, place) in [
            ("BuildRequires", "gcc", "file:3"),
            ("BuildRequires", "make >= 4", "file:3"),
            ("BuildRequires", "(a or b)", "file:4"),
            ("Requires", "gcc", "file:5"),
            ("BuildRequires", "a", "file"),
            ("BuildRequires", "cc", "file"),
        ] {
            assert_eq!(spec.tagged(tag, capability), place, "{tag}: {capability}");
        }
        let toml = document("# \"bash\"\npackages = [\n  \"bash-completion\",\n  \"bash\",\n]\n");
        assert_eq!(toml.string("bash"), "file:4");
        assert_eq!(toml.string("zsh"), "file");
    }
}
