//! Mirror lists: one base URL a line.

use reqwest::Url;

use super::RepositoryError;
use super::metalink::{MAX_MIRRORS, mirror_url};
use super::stream::damaged;

/// More lines than any mirror list has.
const MAX_LINES: usize = 10_000;

/// The base URLs in the bytes of a mirror list that was fetched from the URL `from`, in its order; `name` is
/// what errors call it, `expand` replaces variables in a line.
///
/// Comments and what is no http or https URL are left out. A server that answers with a page instead
/// of a list, or a list without a mirror, is an error that shows the first line.
pub fn parse_mirrorlist(
    bytes: &[u8],
    from: &str,
    name: &str,
    expand: impl Fn(&str) -> String,
) -> Result<Vec<String>, RepositoryError> {
    let text = super::stream::text(bytes, name)?;
    let from = Url::parse(from).ok();
    let mut mirrors: Vec<String> = Vec::new();
    let mut first = None;
    for (number, line) in text.lines().enumerate() {
        if number == MAX_LINES {
            return Err(damaged(name, &"it has too many lines"));
        }
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        first.get_or_insert(line);
        // A word alone could count as a relative URL, and so could every line of a page.
        let looks_so = line.contains("://") || line.starts_with(['/', '.']);
        let url = looks_so.then(|| mirror_url(&expand(line), from.as_ref()));
        if let Some(url) = url.flatten().filter(|url| !mirrors.contains(url)) {
            mirrors.push(url);
        }
    }
    mirrors.truncate(MAX_MIRRORS);
    match first {
        _ if !mirrors.is_empty() => Ok(mirrors),
        Some(line) => {
            let shown: String = line.chars().take(80).collect();
            let shown = shown.escape_debug();
            Err(damaged(
                name,
                &format_args!("it names no http or https mirror; it begins with `{shown}`"),
            ))
        }
        None => Err(damaged(name, &"it is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &[u8]) -> Result<Vec<String>, String> {
        parse_mirrorlist(
            text,
            "https://list.example/x/list",
            "mirror list of base",
            |line| line.replace("$basearch", "x86_64"),
        )
        .map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_read() {
        let text = b"# repo = rocky-9\nhttps://a.example/9/$basearch/os/\n\n  http://b.example/9\r\nftp://c.example/9\nrsync://d/9\n\
                     ./core/guids/abc/\nhttps://a.example/9/x86_64/os\nhttps://u:p@e.example/\n";
        let expected = [
            "https://a.example/9/x86_64/os",
            "http://b.example/9",
            "https://list.example/x/core/guids/abc",
        ];
        assert_eq!(parse(text).unwrap(), expected);
        let many: Vec<String> = (0..500).map(|n| format!("http://m{n}.example/")).collect();
        assert_eq!(
            parse(many.join("\n").as_bytes()).unwrap().len(),
            MAX_MIRRORS
        );
    }

    #[test]
    fn what_is_no_list_is_refused() {
        insta::assert_snapshot!(parse(b"").unwrap_err(), @"`mirror list of base` is damaged or not repository metadata: it is empty");
        insta::assert_snapshot!(parse(b"# Bad repo\n").unwrap_err(), @"`mirror list of base` is damaged or not repository metadata: it is empty");
        insta::assert_snapshot!(parse(b"<html>\x1b[31m\nsign in").unwrap_err(), @r"`mirror list of base` is damaged or not repository metadata: it names no http or https mirror; it begins with `<html>\u{1b}[31m`");
        insta::assert_snapshot!(parse(b"ok\n\xff").unwrap_err(), @"`mirror list of base` is damaged or not repository metadata: byte 3 is not UTF-8 text");
        insta::assert_snapshot!(parse("http://m/\n".repeat(20_000).as_bytes()).unwrap_err(), @"`mirror list of base` is damaged or not repository metadata: it has too many lines");
    }

    proptest::proptest! {
        #[test]
        fn nothing_makes_it_panic(text in "(?s).{0,200}") {
            for mirror in parse(text.as_bytes()).unwrap_or_default() {
                proptest::prop_assert!(mirror.starts_with("http"));
            }
        }
    }
}
