//! The pages in a real browser: nothing runs, nothing is missing, everything can be read.

use std::path::Path;

use pristine::record::{Class, Ending, Outcome, PackageRecord, Record, Scope};
use serde_json::{Value, json};

use super::browser::Browser;
use super::{Runs, lock, sample};

const PHONE: u32 = 360;
const DESK: u32 = 1280;

/// Texts whose colour has less contrast with what lies behind it than WCAG's AA asks for:
/// `[text, ratio]` each.
const PALE: &str = r"(() => {
  const channel = c => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const parse = text => { const n = text.match(/[\d.]+/g).map(Number); return n.length < 4 || n[3] > 0 ? n : null; };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = parse(getComputedStyle(at).backgroundColor);
      if (colour) return colour;
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor) || [255, 255, 255];
  };
  const pale = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || element.closest('title, style')) continue;
    const style = getComputedStyle(element);
    const front = parse(element.closest('svg') ? style.fill : style.color), back = behind(element);
    const [a, b] = [light(front), light(back)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < 4.5) pale.push([walker.currentNode.data, ratio]);
  }
  return pale;
})()";

/// What would run, or load something.
const ALIVE: &str = r"[...document.querySelectorAll('*')].filter(element =>
    ['script', 'iframe', 'img', 'object', 'embed', 'link', 'form', 'base'].includes(element.localName)
    || [...element.attributes].some(attribute => attribute.name.startsWith('on') || attribute.name == 'src')
  ).map(element => element.outerHTML)";

/// Elements that stick out of a phone's screen, but for those in a box that scrolls.
const WIDE: &str = r"[...document.querySelectorAll('body *')].filter(element =>
    !element.closest('.scroll') && element.getBoundingClientRect().right > innerWidth + 1
    && !(element.ownerSVGElement && element.localName != 'text')
  ).map(element => element.outerHTML.slice(0, 200))";

/// A night of 200 packages that need each other.
fn two_hundred() -> Record {
    let mut packages: Vec<PackageRecord> = Vec::new();
    let mut ends: Vec<u64> = Vec::new();
    let mut free = [9000_u64; 4];
    for number in 0..200_usize {
        let milliseconds = 3000 + (number as u64 * 7919 % 97) * 900;
        let needs: Vec<usize> = [number / 3, number * 5 / 7]
            .into_iter()
            .filter(|&need| number > 20 && need < number && number % 4 != 0)
            .collect();
        let ready = needs.iter().map(|&need| ends[need]).max().unwrap_or(0);
        let lane = (0..free.len()).min_by_key(|&lane| free[lane]).unwrap();
        let at = free[lane].max(ready);
        free[lane] = at + milliseconds;
        ends.push(at + milliseconds);
        let name = format!(
            "lib{}-{number}",
            ["core", "net", "graphics", "perl-module", "x"][number % 5]
        );
        let mut package = match number {
            57 | 130 => sample::failed(
                &name,
                at,
                Class::Compiler,
                "%build failed",
                &["a.c:1:1: error: no"],
            ),
            _ => sample::built(&name, at, milliseconds),
        };
        package.needs = needs
            .iter()
            .map(|&need| packages[need].name.clone())
            .collect();
        packages.push(package);
    }
    let mut record = sample::record("20260103-030405-1", packages);
    record.ended = record.started.clone();
    record
}

fn interrupted() -> Record {
    let mut record = sample::every_class();
    "20260104-030405-1".clone_into(&mut record.run);
    record.ending = Ending::Interrupted;
    record.packages.truncate(2);
    record.packages[1].outcome = Outcome::Interrupted {};
    record.scope = Scope::Resume {
        run: "20260103-030405-1".to_owned(),
    };
    record
}

fn green(run: &str) -> Record {
    let mut record = sample::every_class();
    run.clone_into(&mut record.run);
    for package in &mut record.packages {
        let needs = package.needs.clone();
        *package = sample::built(&package.name, package.at, package.milliseconds.max(4000));
        package.needs = needs;
    }
    record
}

/// A record as format 1 had it.
fn old() -> Record {
    let mut value = serde_json::to_value(sample::every_class()).unwrap();
    let digest = value["lock"].clone();
    value = json!({"format": 1, "run": "20260101-000000-1", "project": "tools", "tool": "pristine 0.1.0",
        "started": "2026-01-01T00:00:00Z", "ended": "2026-01-01T00:01:00Z", "lock": digest, "environment": digest,
        "snapshot": digest, "installed": [], "packages": [{ "name": "a",
        "outcome": { "result": "failed", "reason": "exit code 1" }, "inputs": [], "own_packages": [], "outputs": [],
        "source_date_epoch": 1, "milliseconds": 5000, "log": "logs/a.log" }]});
    serde_json::from_value(value).unwrap()
}

/// Everything that holds for every page, in light and dark, on a desk and on a phone.
pub(super) fn check(browser: &mut Browser, page: &Path, name: &str) {
    for (width, scheme) in [
        (DESK, "light"),
        (DESK, "dark"),
        (PHONE, "light"),
        (PHONE, "dark"),
    ] {
        browser.open(page, width, scheme);
        browser.picture(&format!("{name}-{width}-{scheme}"));
        assert_eq!(browser.complaints, Vec::<String>::new(), "{name}");
        let nothing = json!([]);
        assert_eq!(browser.evaluate(ALIVE), nothing, "{name} runs or loads");
        assert_eq!(
            browser.evaluate(PALE),
            nothing,
            "{name}, {width}, {scheme}: too pale to read"
        );
        assert_eq!(
            browser.evaluate(WIDE),
            nothing,
            "{name}, {width}: sticks out"
        );
        let scroll = browser.evaluate("document.documentElement.scrollWidth");
        assert_eq!(scroll, json!(width), "{name} overflows");
    }
    let missing: Vec<String> = links(browser)
        .into_iter()
        .filter(|link| !resolves(browser, page, link))
        .collect();
    assert_eq!(missing, Vec::<String>::new(), "{name}");
}

fn links(browser: &mut Browser) -> Vec<String> {
    let found = browser.evaluate(
        "[...document.querySelectorAll('a')].map(a => a.getAttribute('href')).filter(href => href)",
    );
    serde_json::from_value(found).unwrap()
}

fn resolves(browser: &mut Browser, page: &Path, link: &str) -> bool {
    if let Some(id) = link.strip_prefix('#') {
        return browser.evaluate(&format!("!!document.getElementById({id:?})"))
            == Value::Bool(true);
    }
    let path = browser.evaluate(&format!("decodeURIComponent({link:?})"));
    page.parent()
        .unwrap()
        .join(path.as_str().unwrap())
        .is_file()
}

#[test]
fn reports_can_be_read_everywhere_and_nothing_in_them_runs() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let runs = Runs::new();
    let before = lock(&[
        "bash-5.2-1.x86_64",
        "gcc-14.2-1.x86_64",
        "zlib-1.3-1.x86_64",
    ]);
    let now = lock(&[
        "bash-5.2-1.x86_64",
        "gcc-14.3-1.x86_64",
        "cmake-4.0-1.x86_64",
    ]);
    let mut pages = vec![
        ("old", runs.add(old(), &before)),
        ("green", runs.add(green("20260102-000000-1"), &before)),
    ];
    pages.push(("failures", runs.add(sample::every_class(), &now)));
    pages.push(("many", runs.add(two_hundred(), &now)));
    pages.push(("interrupted", runs.add(interrupted(), &now)));
    fs_err::create_dir(runs.folder().join("20260105-000000-1")).unwrap();
    for (name, folder) in pages {
        check(&mut browser, &folder.join("report.html"), name);
    }
    check(&mut browser, &runs.index(), "index");
}

#[test]
fn strangers_cannot_run_anything_in_a_report_nor_break_it() {
    let Some(mut browser) = Browser::start() else {
        return;
    };
    let runs = Runs::new();
    let folder = runs.add(sample::hostile(), &lock(&[]));
    for page in [folder.join("report.html"), runs.index()] {
        let text = fs_err::read_to_string(&page).unwrap();
        assert!(text.contains("&lt;script&gt;"));
        assert!(
            !text.contains(['\u{1b}', '\u{7}', '\u{202e}', '\0']),
            "{}",
            page.display()
        );
        check(&mut browser, &page, "hostile");
        let title = browser.evaluate("document.title");
        assert!(title.as_str().unwrap().starts_with("<script>"), "{title}");
        // The table after the hostile texts is there, and as long as it should be.
        let rows = browser
            .evaluate("document.querySelectorAll('#packages tbody tr, #runs tbody tr').length");
        assert_eq!(
            rows,
            json!(if page.ends_with("report.html") { 12 } else { 1 })
        );
    }
}
