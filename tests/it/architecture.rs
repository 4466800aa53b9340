//! The layers of `ARCHITECTURE.md`, kept: a module uses only modules of lower layers.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Lowest first; modules in one row are independent of each other, unless listed in separate rows.
const LAYERS: &[&[&str]] = &[
    &[
        "error",
        "events",
        "cancel",
        "digest",
        "files",
        "reproducibility",
        "threads",
        "words",
    ],
    &["rpm", "git"],
    &["documents", "keyring", "plan"],
    &["store"],
    &["repository"],
    &["solve"],
    &["tree"],
    &["backend", "compare"],
    &["oci"],
    &["environment"],
    &["engine", "registry"],
    &["record"],
    &["resolve"],
    &["report", "statement"],
    &["build"],
    &["audit"],
    &["ui"],
    &["cli"],
    &["commands"],
];

fn layer(module: &str) -> usize {
    LAYERS
        .iter()
        .position(|row| row.contains(&module))
        .unwrap_or_else(|| {
            panic!("add `{module}` to LAYERS in tests/it/architecture.rs and to ARCHITECTURE.md")
        })
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The top-level modules that a source text names after `crate::`, inside braces too.
fn used_modules(text: &str) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (at, _) in text.match_indices("crate::") {
        if text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &text[at + "crate::".len()..];
        let names = match rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}').map_or(inner, |(inside, _)| inside),
            None => rest,
        };
        let first = |name: &str| {
            name.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect::<String>()
        };
        let parts: Vec<&str> = if rest.starts_with('{') {
            names.split(',').collect()
        } else {
            vec![names]
        };
        used.extend(
            parts
                .into_iter()
                .map(first)
                .filter(|name| name.starts_with(|c: char| c.is_lowercase())),
        );
    }
    used
}

#[test]
fn modules_use_only_lower_layers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    sources(&root, &mut files);
    assert!(
        files.len() > 20,
        "the walk found only {} files",
        files.len()
    );
    let mut wrong = Vec::new();
    for file in files {
        let inside = file.strip_prefix(&root).unwrap();
        let own = inside
            .components()
            .next()
            .unwrap()
            .as_os_str()
            .to_str()
            .unwrap()
            .trim_end_matches(".rs");
        if ["lib", "main"].contains(&own) {
            continue;
        }
        for used in used_modules(&std::fs::read_to_string(&file).unwrap()) {
            if used != own && layer(&used) >= layer(own) {
                wrong.push(format!(
                    "{}: uses `{used}`, which is not below `{own}`",
                    inside.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_uses_is_not_blind() {
    let text = "use crate::{ui, store::Store};\nfn f() { crate::oci::x(); $crate::nothing!(); }";
    let used: Vec<String> = used_modules(text).into_iter().collect();
    assert_eq!(used, ["oci", "store", "ui"]);
}

#[test]
fn every_layer_is_in_the_architecture_page() {
    let page =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md"))
            .unwrap();
    for module in LAYERS.iter().copied().flatten() {
        assert!(
            page.contains(&format!("`{module}`")),
            "`{module}` is missing in ARCHITECTURE.md"
        );
    }
}
