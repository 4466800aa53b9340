//! Packages in the shape in which all repositories have them, read without a parser's events.
//!
//! What is taken here has no comment, no section, no element inside of another but where a package has them, and no text where
//! none is to be; its attributes stand in double quotes. Everything else is left to the parser, beginning with the
//! package in which it is. What both take they take alike: tested in `draft.rs`, package by package and with mutations.

use quick_xml::events::BytesStart;

use super::draft::{Content, DraftOf, Element, Sink};

/// Reads packages from the beginning of `text` on; gives how many bytes they take. The draft must be empty, and is again.
pub(super) fn packages<S: Sink>(
    text: &str,
    draft: &mut DraftOf<S>,
    sink: &mut S,
) -> Result<usize, S::Error> {
    let mut scanner = Scanner {
        text,
        at: 0,
        indent: b"",
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
    let mut innermost = None;
    loop {
        let Some(tag) = scanner.tag() else {
            return Ok(false);
        };
        let element = tag.element;
        match (tag.kind, innermost) {
            (Kind::End, Some(open)) if element == open => {
                innermost = around(open);
                if innermost.is_none() {
                    return Ok(true);
                }
                draft.end(element);
            }
            (Kind::Start, None) if element == Element::Package => innermost = Some(element),
            (Kind::Empty, Some(_)) => draft.start(element, &tag.start(), Content::None, sink)?,
            (Kind::Start, Some(_)) if around(element) == innermost => {
                draft.start(element, &tag.start(), Content::Text(""), sink)?;
                innermost = Some(element);
                while let Some(entry) = scanner.entry() {
                    draft.entry(&entry.start(), sink)?;
                }
            }
            (Kind::Start, Some(_)) if !matches!(element, Element::Package | Element::Metadata) => {
                let Some(content) = scanner.content(tag.name()) else {
                    return Ok(false);
                };
                draft.start(element, &tag.start(), Content::Text(content), sink)?;
                draft.end(element);
            }
            _ => return Ok(false),
        }
    }
}

/// In which element one is that has others in it.
fn around(element: Element) -> Option<Element> {
    match element {
        Element::Format => Some(Element::Package),
        Element::List(_) => Some(Element::Format),
        _ => None,
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
    element: Element,
}

impl<'a> Tag<'a> {
    fn name(&self) -> &'a str {
        &self.inner[..self.name]
    }

    /// Whether it has nothing but its name.
    fn is_plain(&self) -> bool {
        self.inner.len() == self.name
    }

    /// As the parser gives it.
    fn start(&self) -> BytesStart<'a> {
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

/// A tag that was there before.
#[derive(Debug, Clone, Copy)]
struct Seen<'a> {
    /// The space before it, and it.
    text: &'a [u8],
    tag: Tag<'a>,
    /// Where the tag's name begins in the text.
    name: usize,
}

/// A text, and where in it is read.
struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// The space before the dependency before.
    indent: &'a [u8],
    /// The tags of the package before: in most packages they are the same.
    seen: Vec<Seen<'a>>,
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
        if let Some(seen) = self.seen.get(place).copied() {
            if rest.starts_with(seen.text) {
                self.at += seen.text.len();
                return Some(seen.tag);
            }
            let Tag { name, element, .. } = seen.tag;
            // The same with other attributes: those begin with the space behind the name.
            if !seen.tag.is_plain() && rest.starts_with(&seen.text[..=seen.name + name]) {
                return self.with_attributes(start + seen.name, name, element);
            }
        }
        let (tag, name) = self.new_tag()?;
        let seen = Seen {
            text: &rest[..self.at - start],
            tag,
            name: name - start,
        };
        if let Some(before) = self.seen.get_mut(place) {
            *before = seen;
        } else if place < MOST_SEEN {
            self.seen.push(seen);
        }
        Some(tag)
    }

    /// The same of one that was not there before, and where its name begins.
    fn new_tag(&mut self) -> Option<(Tag<'a>, usize)> {
        if self.skip_space()? != b'<' {
            return None;
        }
        let start = self.at + 1;
        let bytes = &self.text.as_bytes()[start..];
        let ends = usize::from(*bytes.first()? == b'/');
        let names = bytes[ends..].iter();
        let length = names.take_while(|byte| is_name(**byte)).count();
        let start = start + ends;
        let name = Some(&self.text[start..start + length]).filter(|name| !name.is_empty())?;
        let element = Element::of(name);
        let after = start + length;
        let (kind, brackets) = match (&self.text.as_bytes()[after..], ends) {
            ([b'>', ..], 0) => (Kind::Start, 1),
            ([b'>', ..], _) => (Kind::End, 1),
            ([b'/', b'>', ..], 0) => (Kind::Empty, 2),
            ([space, ..], 0) if is_space(*space) => {
                return Some((self.with_attributes(start, length, element)?, start));
            }
            // An end tag has nothing but its name.
            _ => return None,
        };
        self.at = after + brackets;
        let tag = Tag {
            kind,
            inner: name,
            name: length,
            element,
        };
        Some((tag, start))
    }

    /// One that goes on after its name, which begins at `start` and has this length.
    fn with_attributes(&mut self, start: usize, name: usize, element: Element) -> Option<Tag<'a>> {
        let bytes = &self.text.as_bytes()[start..];
        let end = memchr::memchr(b'>', bytes)?;
        let empty = bytes[end - 1] == b'/';
        let inner = &self.text[start..start + end - usize::from(empty)];
        self.at = start + end + 1;
        // The bracket is outside of quotes.
        is_closed(&inner.as_bytes()[name..]).then_some(Tag {
            kind: if empty { Kind::Empty } else { Kind::Start },
            inner,
            name,
            element,
        })
    }

    /// The next tag, if it is a dependency's in the usual shape; else nothing is read.
    fn entry(&mut self) -> Option<Tag<'a>> {
        let bytes = &self.text.as_bytes()[self.at..];
        let after_same = bytes.strip_prefix(self.indent);
        let same = after_same.and_then(|rest| rest.strip_prefix(b"<"));
        let tag = if let Some(tag) = same {
            tag
        } else {
            let space = bytes.iter().take_while(|byte| is_space(**byte));
            self.indent = &bytes[..space.count()];
            bytes[self.indent.len()..].strip_prefix(b"<")?
        };
        if !tag.starts_with(b"rpm:entry ") {
            return None;
        }
        let before = self.at;
        let start = before + self.indent.len() + 1;
        let entry = self.with_attributes(start, "rpm:entry".len(), Element::Entry);
        let entry = entry.filter(|tag| tag.kind == Kind::Empty);
        if entry.is_none() {
            self.at = before;
        }
        entry
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
    // They come in the order in which they are asked for, mostly.
    let mut at = 0;
    for (wanted, value) in names.iter().zip(&mut values) {
        if let Some((found, end)) = named(text, at, wanted) {
            *value = Some(found);
            at = end;
        }
    }
    let mut others = [""; MOST_ATTRIBUTES];
    let mut count = 0;
    while at < text.len() {
        let (name, value);
        (name, value, at) = attribute(text, at)?;
        if let Some(wanted) = names.iter().position(|wanted| *wanted == name) {
            if values[wanted].replace(value).is_some() {
                return None;
            }
        } else if others[..count].contains(&name) {
            return None;
        } else {
            *others.get_mut(count)? = name;
            count += 1;
        }
    }
    Some(values)
}

/// The value of the attribute that begins there, if it has this name, and where it ends.
fn named<'a>(text: &'a str, start: usize, name: &str) -> Option<(&'a str, usize)> {
    let rest = text.as_bytes().get(start..)?;
    let value = rest.strip_prefix(b" ")?.strip_prefix(name.as_bytes())?;
    let value = value.strip_prefix(b"=\"")?;
    let from = start + rest.len() - value.len();
    let to = from + memchr::memchr(b'"', value)?;
    Some((&text[from..to], to + 1))
}

/// The attribute that begins there: its name, its value, and where it ends.
fn attribute(text: &str, start: usize) -> Option<(&str, &str, usize)> {
    let name = text.as_bytes().get(start..)?.strip_prefix(b" ")?;
    let length = name.iter().position(|byte| !is_name(*byte))?;
    let name = Some(&text[start + 1..start + 1 + length]).filter(|name| !name.is_empty())?;
    let (value, end) = named(text, start, name)?;
    Some((name, value, end))
}
