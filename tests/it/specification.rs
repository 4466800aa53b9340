//! `SPECIFICATION.md`: every promise names what holds it, and that exists.

use std::collections::BTreeSet;
use std::path::Path;

/// A promise, and what is named for it as `FILE::NAME`.
#[derive(Debug)]
struct Promise {
    text: String,
    held_by: Vec<(String, String)>,
}

/// The items of the page's lists; an item goes on in the lines that are indented.
fn promises(page: &str) -> Vec<Promise> {
    let mut items: Vec<String> = Vec::new();
    for line in page.lines() {
        if let Some(item) = line.strip_prefix("- ") {
            items.push(item.to_owned());
        } else if let (Some(item), Some(more)) = (items.last_mut(), line.strip_prefix("  ")) {
            item.push(' ');
            item.push_str(more);
        }
    }
    items
        .into_iter()
        .map(|text| {
            let code = text.split('`').skip(1).step_by(2);
            let held_by = code
                .filter_map(|code| code.split_once("::"))
                .map(|(file, name)| (file.to_owned(), name.to_owned()))
                .collect();
            Promise { text, held_by }
        })
        .collect()
}

/// Whether a Rust source has a test of that name that runs by itself.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    let start = format!("fn {name}(");
    lines.iter().enumerate().any(|(at, line)| {
        let attributes = lines[..at]
            .iter()
            .rev()
            .take_while(|line| line.starts_with('#') || line.starts_with("//"));
        let attributes: Vec<&&str> = attributes.collect();
        line.contains(&start)
            && attributes.iter().any(|line| line.starts_with("#[test]"))
            && !attributes.iter().any(|line| line.starts_with("#[ignore"))
    })
}

#[test]
fn every_promise_is_held_by_something_that_exists() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs_err::read_to_string(checkout.join("SPECIFICATION.md")).unwrap();
    let promises = promises(&page);
    assert!(promises.len() > 30, "only {} were found", promises.len());
    let mut wrong = Vec::new();
    for Promise { text, held_by } in &promises {
        if held_by.is_empty() {
            wrong.push(format!("nothing holds: {text}"));
        }
        for (file, name) in held_by {
            let source = fs_err::read_to_string(checkout.join(file));
            let exists = source.is_ok_and(|source| match file.as_str() {
                "benches/compare" => source.contains(&format!("\n@line(\"{name}\", ")),
                _ => has_test(&source, name),
            });
            if !exists {
                wrong.push(format!("there is no `{file}::{name}`, which holds: {text}"));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_goal_of_the_benchmarks_is_promised() {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs_err::read_to_string(checkout.join("SPECIFICATION.md")).unwrap();
    let script = fs_err::read_to_string(checkout.join("benches/compare")).unwrap();
    let goals: BTreeSet<&str> = script
        .lines()
        .filter_map(|line| line.strip_prefix("@line(\"")?.split_once("\", "))
        .filter(|(_, rest)| !rest.starts_with("None"))
        .map(|(name, _)| name)
        .collect();
    assert!(goals.len() >= 4, "{goals:?}");
    for name in goals {
        assert!(
            page.contains(&format!("`benches/compare::{name}`")),
            "{name}"
        );
    }
}

#[test]
fn the_reader_of_promises_is_not_blind() {
    let page = "# A\n- one: `a.rs::x`,\n  `b.rs::y`\n- two `c`\ntext\n";
    insta::assert_debug_snapshot!(promises(page), @r#"
    [
        Promise {
            text: "one: `a.rs::x`, `b.rs::y`",
            held_by: [
                (
                    "a.rs",
                    "x",
                ),
                (
                    "b.rs",
                    "y",
                ),
            ],
        },
        Promise {
            text: "two `c`",
            held_by: [],
        },
    ]
    "#);
    let source =
        "#[test]\nfn good() {}\n#[test]\n#[ignore = \"x\"]\nfn ignored() {}\nfn none() {}\n";
    let found = ["good", "ignored", "none", "absent"].map(|name| has_test(source, name));
    assert_eq!(found, [true, false, false, false]);
}
