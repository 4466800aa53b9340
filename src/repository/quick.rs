//! Packages in the shape in which all repositories have them, read without a parser's events.
//!
//! What is taken here has no comment, no section, no element inside of another but where a package has them, and no text where
//! none is to be; its attributes stand in double quotes. Everything else is left to the parser, beginning with the
//! package in which it is. What both take they take alike: tested in `draft.rs`, package by package and with mutations.

use quick_xml::events::BytesStart;

use super::draft::{Content, DraftOf, LISTS, Sink};

/// Reads packages from the beginning of `text` on; gives how many bytes they take. The draft must be empty, and is again.
pub(super) fn packages<S: Sink>(
    text: &str,
    draft: &mut DraftOf<S>,
    sink: &mut S,
) -> Result<usize, S::Error> {
    let mut scanner = Scanner {
        text,
        at: 0,
        seen: Vec::new(),
        place: 0,
    };
    let mut done = 0;
    while package(&mut scanner, draft, sink)? {
        sink.package(draft)?;
        draft.clear();
        done = scanner.at;
    }
    draft.clear();
    Ok(done)
}

/// Reads one package into the draft; gives whether it was in the usual shape to its end.
fn package<S: Sink>(
    scanner: &mut Scanner<'_>,
    draft: &mut DraftOf<S>,
    sink: &mut S,
) -> Result<bool, S::Error> {
    scanner.place = 0;
    let mut open: Vec<&str> = Vec::with_capacity(3);
    loop {
        let Some(tag) = scanner.tag() else {
            return Ok(false);
        };
        let (name, innermost) = (tag.name(), open.last().copied());
        match (tag.kind, innermost) {
            (Kind::End, Some(innermost)) if name == innermost => {
                open.pop();
                if open.is_empty() {
                    return Ok(true);
                }
                draft.end(name);
            }
            (Kind::Start, None) if name == "package" => open.push(name),
            (Kind::Empty, Some(parent)) if is_nothing(parent, name) => {}
            (Kind::Start, Some(parent)) if is_nothing(parent, name) => {
                if scanner.content(name).is_none() {
                    return Ok(false);
                }
            }
            (Kind::Empty, Some(_)) => draft.start(&tag.element(), Content::None, sink)?,
            (Kind::Start, Some(parent)) if nests(parent, name) => {
                draft.start(&tag.element(), Content::Text(""), sink)?;
                open.push(name);
                while let Some(entry) = scanner.entry() {
                    draft.entry(&entry.element(), sink)?;
                }
            }
            (Kind::Start, Some(_)) if !matches!(name, "package" | "metadata") => {
                let Some(content) = scanner.content(name) else {
                    return Ok(false);
                };
                draft.start(&tag.element(), Content::Text(content), sink)?;
                draft.end(name);
            }
            _ => return Ok(false),
        }
    }
}

/// Whether nothing is done with an element that most packages have, in which there are no others.
fn is_nothing(parent: &str, name: &str) -> bool {
    match parent {
        "package" => matches!(name, "description" | "packager" | "url"),
        // No list is open that it would end.
        "format" => matches!(
            name,
            "rpm:license" | "rpm:group" | "rpm:buildhost" | "rpm:header-range"
        ),
        _ => false,
    }
}

/// Whether an element has others in it.
fn nests(parent: &str, name: &str) -> bool {
    match parent {
        "package" => name == "format",
        "format" => LISTS.contains(&name),
        _ => false,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Start,
    Empty,
    End,
}

/// A tag.
#[derive(Debug, Clone, Copy)]
struct Tag<'a> {
    kind: Kind,
    /// What stands between its brackets, but for the slash.
    inner: &'a str,
    name: usize,
}

impl<'a> Tag<'a> {
    fn name(&self) -> &'a str {
        &self.inner[..self.name]
    }

    /// As the parser gives it.
    fn element(&self) -> BytesStart<'a> {
        BytesStart::from_content(self.inner, self.name)
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\n' | b'\t' | b'\r')
}

/// So many tags of a package are remembered.
const MOST_SEEN: usize = 64;

/// Of what names of elements are made here; others are left to the parser.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_lowercase() || matches!(byte, b':' | b'-')
}

/// A text, and where in it is read.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The tags of the package before, each with the space before it: in most packages they are the same.
    seen: Vec<Option<(&'a [u8], Tag<'a>)>>,
    /// How many tags there were in this package.
    place: usize,
}

impl<'a> Scanner<'a> {
    /// Goes on to what is no space.
    fn skip_space(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while is_space(*bytes.get(self.at)?) {
            self.at += 1;
        }
        Some(bytes[self.at])
    }

    /// The next tag, before which only space may stand.
    fn tag(&mut self) -> Option<Tag<'a>> {
        let start = self.at;
        let rest = self.text.as_bytes().get(start..)?;
        let place = self.place;
        self.place += 1;
        let seen = self.seen.get(place).copied().flatten();
        if let Some((text, tag)) = seen.filter(|(text, _)| rest.starts_with(text)) {
            self.at += text.len();
            return Some(tag);
        }
        let tag = self.new_tag()?;
        let plain = tag.inner.len() == tag.name;
        let known = plain.then_some((&rest[..self.at - start], tag));
        if let Some(seen) = self.seen.get_mut(place) {
            *seen = known;
        } else if place < MOST_SEEN {
            self.seen.push(known);
        }
        Some(tag)
    }

    /// The same of one that was not there before.
    fn new_tag(&mut self) -> Option<Tag<'a>> {
        if self.skip_space()? != b'<' {
            return None;
        }
        let start = self.at + 1;
        let bytes = &self.text.as_bytes()[start..];
        let end = memchr::memchr(b'>', bytes)?;
        self.at = start + end + 1;
        let ends = usize::from(*bytes.first()? == b'/');
        let empties = usize::from(end > 0 && ends == 0 && bytes[end - 1] == b'/');
        let inner = self.text.get(start + ends..start + end - empties)?;
        let name = inner.bytes().take_while(|byte| is_name(*byte)).count();
        let attributes = &inner.as_bytes()[name..];
        let kind = match (ends, empties) {
            (0, 0) => Kind::Start,
            (0, _) => Kind::Empty,
            _ => Kind::End,
        };
        let usual = match attributes.first() {
            None => name > 0,
            // The bracket is outside of quotes. An end tag has nothing but its name.
            Some(first) => {
                name > 0 && kind != Kind::End && is_space(*first) && is_closed(attributes)
            }
        };
        usual.then_some(Tag { kind, inner, name })
    }

    /// The next tag, if it is a dependency's in the usual shape; else nothing is read.
    fn entry(&mut self) -> Option<Tag<'a>> {
        const NAME: &str = "rpm:entry";
        let before = self.at;
        self.skip_space()?;
        let start = std::mem::replace(&mut self.at, before);
        let rest = self.text[start..].strip_prefix("<rpm:entry ")?;
        let length = memchr::memchr(b'>', rest.as_bytes())?;
        let attributes = rest[..length].strip_suffix('/')?;
        if !is_closed(attributes.as_bytes()) {
            return None;
        }
        let inner = &self.text[start + 1..start + 1 + NAME.len() + 1 + attributes.len()];
        self.at = self.text.len() - rest.len() + length + 1;
        Some(Tag {
            kind: Kind::Empty,
            inner,
            name: NAME.len(),
        })
    }

    /// The text up to the end tag with this name, after which is read on.
    fn content(&mut self, name: &str) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        let start = self.at;
        let mut at = start;
        loop {
            at += memchr::memchr2(b'<', b'&', &bytes[at..])?;
            if bytes[at] == b'<' {
                break;
            }
            at += reference(&bytes[at..])?;
        }
        let rest = self.text[at..].strip_prefix("</")?.strip_prefix(name)?;
        self.at = self.text.len() - rest.strip_prefix('>')?.len();
        Some(&self.text[start..at])
    }
}

/// Whether all quotes are double ones, and closed.
fn is_closed(attributes: &[u8]) -> bool {
    // All of it is looked at: that way it is done many bytes at once.
    let (mut doubles, mut singles) = (0_u8, 0_u8);
    for byte in attributes {
        doubles ^= u8::from(*byte == b'"');
        singles |= u8::from(*byte == b'\'');
    }
    doubles | singles == 0
}

/// The length of a reference to a character that stands at the beginning.
fn reference(bytes: &[u8]) -> Option<usize> {
    let name = bytes[1..].iter();
    let length = name
        .take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#')
        .count();
    (length > 0 && bytes.get(1 + length) == Some(&b';')).then_some(length + 2)
}

/// More attributes than an element of a package has.
const MOST_ATTRIBUTES: usize = 8;

/// The values of the attributes with these names, where all are written as usual and none is there twice.
pub(super) fn attributes<'a, const N: usize>(
    element: &'a BytesStart<'_>,
    names: [&str; N],
) -> Option<[Option<&'a str>; N]> {
    let text = element.attributes_raw();
    // All of it is looked at: that way it is done many bytes at once.
    let odd = text.bytes().fold(0, |odd, byte| {
        odd | u8::from(byte < b' ') | u8::from(byte == b'&') | u8::from(byte == b'<')
    });
    if odd != 0 {
        return None;
    }
    let mut values = [None; N];
    let mut others = [""; MOST_ATTRIBUTES];
    let (mut at, mut count, mut likely) = (0, 0, 0);
    while at < text.len() {
        let (name, value);
        (name, value, at) = attribute(text, at)?;
        // They come in the order in which they are asked for, mostly.
        let found = match names.get(likely) {
            Some(wanted) if *wanted == name => Some(likely),
            _ => names.iter().position(|wanted| *wanted == name),
        };
        if let Some(wanted) = found {
            if values[wanted].replace(value).is_some() {
                return None;
            }
            likely = wanted + 1;
        } else if others[..count].contains(&name) {
            return None;
        } else {
            *others.get_mut(count)? = name;
            count += 1;
        }
    }
    Some(values)
}

/// The attribute that begins there: its name, its value, and where it ends.
fn attribute(text: &str, start: usize) -> Option<(&str, &str, usize)> {
    let bytes = text.as_bytes().get(start..)?;
    let name = bytes.strip_prefix(b" ")?;
    let length = name.iter().position(|byte| !is_name(*byte))?;
    let value = name[length..].strip_prefix(b"=\"")?;
    let close = memchr::memchr(b'"', value)?;
    let from = start + 1 + length + 2;
    let usual = length > 0;
    usual.then_some((
        &text[start + 1..start + 1 + length],
        &text[from..from + close],
        from + close + 1,
    ))
}
