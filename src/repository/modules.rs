//! modulemd: streams of modules, and which of them are the defaults.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Options, budget, options};

use super::RepositoryError;
use super::stream::{damaged, text, whole_file};

/// The largest file of modules that is read, bytes once decompressed.
const MAX_SIZE: u64 = 256 << 20;
/// More streams, and more texts in them, than any distribution has.
const MAX_DOCUMENTS: usize = 50_000;
const MAX_NODES: usize = 10_000_000;
/// Deeper nesting than any document has.
const MAX_DEPTH: usize = 24;

/// The modules of one or more repositories.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    /// Every context of every version of every stream.
    pub streams: Vec<Stream>,
    /// The default stream of each module that has defaults; `None` where two repositories do not agree, or
    /// where there is none on purpose.
    pub defaults: BTreeMap<String, Option<String>>,
}

/// One context of one version of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stream {
    /// The module.
    pub name: String,
    /// The stream.
    pub stream: String,
    /// Its version.
    pub version: u64,
    /// What it was built against, as a short hash.
    pub context: String,
    /// Whether the context is a name that upgrades keep, and no hash.
    pub static_context: bool,
    /// The architecture; empty where it says none.
    pub arch: String,
    /// The modules that it requires, each with the streams of it that do; all where the list is empty, and
    /// those that begin with `-` do not.
    pub requires: Vec<(String, Vec<String>)>,
    /// Its packages by full name, epoch included.
    pub artifacts: Vec<String>,
    /// Names of packages that left the module.
    pub demodularized: Vec<String>,
}

/// A document as it stands in the file; what it is about decides which keys it has.
#[derive(Deserialize)]
struct RawDocument {
    document: String,
    #[serde(default)]
    data: RawData,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawData {
    // `modulemd`
    name: String,
    stream: Option<String>,
    version: u64,
    context: String,
    static_context: bool,
    arch: String,
    dependencies: RawDependencies,
    artifacts: RawPackages,
    demodularized: RawPackages,
    // `modulemd-defaults`
    module: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPackages {
    rpms: Vec<String>,
}

/// Version 2 has a list of alternatives, of which libdnf takes all together; version 1 has one stream for each module.
#[derive(Default)]
struct RawDependencies(Vec<(String, Vec<String>)>);

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawAlternative {
    requires: BTreeMap<String, Vec<String>>,
}

struct DependenciesVisitor;

impl<'de> Visitor<'de> for DependenciesVisitor {
    type Value = RawDependencies;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("dependencies of a module")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut requires = Vec::new();
        while let Some(alternative) = list.next_element::<RawAlternative>()? {
            requires.extend(alternative.requires);
        }
        Ok(RawDependencies(requires))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut requires = Vec::new();
        while let Some((key, streams)) = map.next_entry::<String, BTreeMap<String, String>>()? {
            if key == "requires" {
                requires.extend(
                    streams
                        .into_iter()
                        .map(|(name, stream)| (name, vec![stream])),
                );
            }
        }
        Ok(RawDependencies(requires))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(RawDependencies::default())
    }
}

impl<'de> Deserialize<'de> for RawDependencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DependenciesVisitor)
    }
}

impl Modules {
    /// Reads the possibly compressed modules at `path`; `name` is what errors call it.
    pub fn read(path: &Path, name: &str) -> Result<Self, RepositoryError> {
        Self::parse(&whole_file(path, name, MAX_SIZE)?, name)
    }

    /// Reads the bytes of a file of modules; `name` is what errors call it.
    ///
    /// Documents of other kinds (translations, obsoletes) are left out. References between places of the
    /// file (anchors, aliases) are refused: nobody writes them, and they are how small files become huge.
    pub fn parse(bytes: &[u8], name: &str) -> Result<Self, RepositoryError> {
        let documents: Vec<RawDocument> =
            serde_saphyr::from_multiple_with_options(text(bytes, name)?, limits()).map_err(
                |error| {
                    let text = error.to_string();
                    let first = text.lines().next().unwrap_or_default();
                    damaged(name, &first.strip_prefix("error: ").unwrap_or(first))
                },
            )?;
        let mut modules = Self::default();
        for document in documents {
            let data = document.data;
            match document.document.as_str() {
                "modulemd" => modules.streams.push(stream(data, name)?),
                "modulemd-defaults" => modules.add_default(data.module, data.stream),
                _ => {}
            }
        }
        Ok(modules)
    }

    /// Adds the modules of another repository.
    pub fn merge(&mut self, other: Self) {
        self.streams.extend(other.streams);
        for (module, stream) in other.defaults {
            self.add_default(module, stream);
        }
    }

    /// Two repositories that name two streams as the default leave the module without one.
    fn add_default(&mut self, module: String, stream: Option<String>) {
        self.defaults
            .entry(module)
            .and_modify(|known| {
                if *known != stream {
                    *known = None;
                }
            })
            .or_insert(stream);
    }
}

fn limits() -> Options {
    options! {
        budget: budget! {
            max_events: 3 * MAX_NODES,
            max_nodes: MAX_NODES,
            max_documents: MAX_DOCUMENTS,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_total_scalar_bytes: 256 << 20,
            max_aliases: 0,
            max_anchors: 0,
        },
    }
}

/// What names a module becomes a part of dependencies: it must not hold what means something there.
fn stream(data: RawData, name: &str) -> Result<Stream, RepositoryError> {
    let stream = data.stream.unwrap_or_default();
    let unfit = |text: &String| {
        text.is_empty()
            || text.len() > 256
            || text.contains(|c: char| {
                c.is_whitespace() || c.is_control() || matches!(c, '(' | ')' | ':' | ',')
            })
    };
    if unfit(&data.name) || unfit(&stream) || unfit_context(&data.context) {
        return Err(damaged(
            name,
            &format_args!(
                "it has the module `{}:{}`, which no module can be named",
                data.name.escape_debug(),
                stream.escape_debug()
            ),
        ));
    }
    for (module, streams) in &data.dependencies.0 {
        if let Some(odd) = std::iter::once(module)
            .chain(streams)
            .find(|text| unfit(text))
        {
            return Err(damaged(
                name,
                &format_args!(
                    "`{}:{stream}` requires `{}`, which no module can be named",
                    data.name,
                    odd.escape_debug()
                ),
            ));
        }
    }
    Ok(Stream {
        name: data.name,
        stream,
        version: data.version,
        context: data.context,
        static_context: data.static_context,
        arch: data.arch,
        requires: data.dependencies.0,
        artifacts: data.artifacts.rpms,
        demodularized: data.demodularized.rpms,
    })
}

fn unfit_context(context: &str) -> bool {
    context.len() > 64
        || context.contains(|c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"---
document: modulemd
version: 2
data:
  name: perl-DBI
  stream: 1.10
  version: 8010020190322
  context: 0e3a2b
  static_context: true
  arch: x86_64
  summary: >-
    Something long,
    over two lines
  license: { module: [MIT] }
  dependencies:
  - buildrequires:
      platform: [el8]
    requires:
      perl: [5.30, '5.26']
      platform: []
  demodularized:
    rpms: [perl-Old]
  profiles:
    common: { rpms: [perl-DBI] }
  artifacts:
    rpms:
    - perl-DBI-0:1.641-2.module_el8.x86_64
    - perl-DBI-0:1.641-2.module_el8.src
...
---
document: modulemd-defaults
version: 1
data:
  module: perl-DBI
  modified: 201909270000
  stream: "1.10"
  profiles:
    "1.10": [common]
...
---
document: modulemd
version: 1
data:
  name: old
  stream: f28
  version: 1
  dependencies:
    requires: { platform: f28 }
...
---
document: modulemd-translations
version: 1
data:
  module: perl-DBI
  stream: "1.10"
  translations: { de: { summary: x } }
...
"#;

    #[test]
    fn streams_and_defaults_are_read_and_texts_stay_texts() {
        let modules = Modules::parse(TEXT.as_bytes(), "modules of appstream").unwrap();
        let strings = |texts: &[&str]| texts.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(
            modules.streams,
            [
                Stream {
                    name: "perl-DBI".to_owned(),
                    stream: "1.10".to_owned(),
                    version: 8_010_020_190_322,
                    context: "0e3a2b".to_owned(),
                    static_context: true,
                    arch: "x86_64".to_owned(),
                    requires: vec![
                        ("perl".to_owned(), strings(&["5.30", "5.26"])),
                        ("platform".to_owned(), vec![])
                    ],
                    artifacts: strings(&[
                        "perl-DBI-0:1.641-2.module_el8.x86_64",
                        "perl-DBI-0:1.641-2.module_el8.src"
                    ]),
                    demodularized: strings(&["perl-Old"]),
                },
                Stream {
                    name: "old".to_owned(),
                    stream: "f28".to_owned(),
                    version: 1,
                    requires: vec![("platform".to_owned(), strings(&["f28"]))],
                    ..Stream::default()
                }
            ]
        );
        assert_eq!(modules.defaults["perl-DBI"].as_deref(), Some("1.10"));
    }

    #[test]
    fn repositories_that_do_not_agree_leave_no_default() {
        let defaults = |stream: &str| {
            let text = format!(
                "document: modulemd-defaults\nversion: 1\ndata: {{module: nodejs{stream}}}\n"
            );
            Modules::parse(text.as_bytes(), "m").unwrap()
        };
        for (first, second, expected) in [
            (", stream: 10", ", stream: '10'", Some("10")),
            (", stream: 10", ", stream: 12", None),
            ("", "", None),
        ] {
            let mut modules = defaults(first);
            modules.merge(defaults(second));
            assert_eq!(modules.defaults["nodejs"].as_deref(), expected);
        }
    }

    fn error(text: &[u8]) -> String {
        Modules::parse(text, "modules of appstream")
            .unwrap_err()
            .to_string()
    }

    #[test]
    fn hostile_modules_are_refused() {
        insta::assert_snapshot!(error(b"a: \xff"), @"`modules of appstream` is damaged or not repository metadata: byte 3 is not UTF-8 text");
        insta::assert_snapshot!(error(b"document: modulemd\ndata: {name: 'a)', stream: b}"), @"`modules of appstream` is damaged or not repository metadata: it has the module `a):b`, which no module can be named");
        insta::assert_snapshot!(error(b"document: modulemd\ndata: {name: a, stream: b, dependencies: [{requires: {'x or y': []}}]}"), @"`modules of appstream` is damaged or not repository metadata: `a:b` requires `x or y`, which no module can be named");
        insta::assert_snapshot!(error(b"- a\n- b\n"), @"`modules of appstream` is damaged or not repository metadata: line 1 column 1: expected mapping start");
        let laughs = "document: modulemd\ndata:\n  a: &a [x,x,x,x,x,x,x,x,x]\n  b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\n  c: [*b,*b,*b,*b,*b]\n";
        insta::assert_snapshot!(error(laughs.as_bytes()), @"`modules of appstream` is damaged or not repository metadata: line 3 column 9: budget breached: Anchors { anchors: 1 }");
        let deep = format!("document: x\ndata:\n  x: {}", "[".repeat(100_000));
        insta::assert_snapshot!(error(deep.as_bytes()), @"`modules of appstream` is damaged or not repository metadata: line 3 column 30: recursion limit exceeded");
        let deep: Vec<String> = (0..2000).map(|n| format!("{}a:", " ".repeat(n))).collect();
        let deep = deep.join("\n");
        insta::assert_snapshot!(error(deep.as_bytes()), @"`modules of appstream` is damaged or not repository metadata: line 25 column 25: budget breached: Depth { depth: 25 }");
        let many = "---\ndocument: x\n".repeat(60_000);
        insta::assert_snapshot!(error(many.as_bytes()), @"`modules of appstream` is damaged or not repository metadata: line 100001 column 1: budget breached: Documents { documents: 50001 }");
    }

    #[test]
    fn nothing_of_a_cut_file_makes_it_panic() {
        for cut in 0..TEXT.len() {
            let _whatever = Modules::parse(&TEXT.as_bytes()[..cut], "m");
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn nothing_makes_it_panic(at in 0..TEXT.len(), with in "[\\[\\]{}:&*!|>'\" \n#%-]{1,4}") {
            let mut text = TEXT.to_owned();
            text.insert_str(text.floor_char_boundary(at), &with);
            let _whatever = Modules::parse(text.as_bytes(), "m");
        }
    }
}
