//! `primary` read one package at a time, its text borrowed or in buffers that are used again.

use std::borrow::Cow;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, XmlVersion};

use super::quick;
use crate::rpm::{Comparison, DependencyParts, Requirement};

/// What the metadata's documents are.
const XML: XmlVersion = XmlVersion::Implicit1_0;
/// The elements of a package that have dependencies in them, in the order of [`Draft::lists`].
pub(super) const LISTS: [&str; 8] = [
    "rpm:provides",
    "rpm:requires",
    "rpm:conflicts",
    "rpm:obsoletes",
    "rpm:recommends",
    "rpm:suggests",
    "rpm:supplements",
    "rpm:enhances",
];

/// What an element is to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    Metadata,
    Package,
    Format,
    /// A list of dependencies, by its place in [`LISTS`].
    List(usize),
    Entry,
    File,
    Name,
    Arch,
    Version,
    Checksum,
    Vendor,
    Time,
    Size,
    Location,
    /// Another one of rpm's own: a list that is open ends there.
    Rpm,
    Other,
}

impl Element {
    /// By its name.
    pub(super) fn of(name: &str) -> Self {
        match name {
            "rpm:entry" => Self::Entry,
            "file" => Self::File,
            "name" => Self::Name,
            "arch" => Self::Arch,
            "version" => Self::Version,
            "checksum" => Self::Checksum,
            "rpm:vendor" => Self::Vendor,
            "time" => Self::Time,
            "size" => Self::Size,
            "location" => Self::Location,
            "format" => Self::Format,
            "package" => Self::Package,
            "metadata" => Self::Metadata,
            _ if name.starts_with("rpm:") => LISTS
                .iter()
                .position(|list| *list == name)
                .map_or(Self::Rpm, Self::List),
            _ => Self::Other,
        }
    }
}

/// Who takes packages; `E` is what ends the reading.
pub(super) trait Sink {
    /// What a dependency is to it.
    type Dependency;
    /// What a path is to it.
    type Path;
    /// What ends the reading.
    type Error;

    /// What is wrong with the document.
    fn damaged(&self, reason: String) -> Self::Error;
    /// A dependency's element in the list with this place in [`LISTS`]. Many occur again and again: who has seen one need not
    /// read it again.
    fn dependency(
        &mut self,
        list: usize,
        element: &BytesStart<'_>,
    ) -> Result<Self::Dependency, Self::Error>;
    /// A path.
    fn path(&mut self, path: &str) -> Self::Path;
    /// A whole package.
    fn package(&mut self, draft: &mut DraftOf<Self>) -> Result<(), Self::Error>;
}

/// A package as a sink has it.
pub(super) type DraftOf<S> = Draft<<S as Sink>::Dependency, <S as Sink>::Path>;

/// A package that is being read. What its metadata do not say is empty.
#[derive(Debug)]
pub(super) struct Draft<D, P> {
    pub(super) name: String,
    pub(super) arch: String,
    pub(super) epoch: String,
    pub(super) version: String,
    pub(super) release: String,
    /// Type and hex digits.
    pub(super) checksum: (String, String),
    pub(super) vendor: String,
    pub(super) location: String,
    pub(super) build_time: u64,
    pub(super) size: Option<u64>,
    /// Provides, requires, conflicts, obsoletes, recommends, suggests, supplements, enhances.
    pub(super) lists: [Vec<D>; LISTS.len()],
    pub(super) paths: Vec<P>,
    /// The list that is open.
    list: Option<usize>,
}

impl<D, P> Default for Draft<D, P> {
    fn default() -> Self {
        let text = String::new;
        Self {
            name: text(),
            arch: text(),
            epoch: text(),
            version: text(),
            release: text(),
            checksum: (text(), text()),
            vendor: text(),
            location: text(),
            build_time: 0,
            size: None,
            lists: Default::default(),
            paths: Vec::new(),
            list: None,
        }
    }
}

/// What an element has in it.
#[derive(Debug)]
pub(super) enum Content<'r, 'a> {
    /// It is empty.
    None,
    /// What follows in the reader.
    Reader(&'r mut Reader<&'a [u8]>),
    /// This text.
    Text(&'a str),
}

/// Reads a document of packages to its end.
pub(super) fn read<S: Sink>(document: &[u8], sink: &mut S) -> Result<(), S::Error> {
    read_with(document, std::str::from_utf8(document).ok(), sink)
}

/// The same by the parser alone.
pub(super) fn read_plainly<S: Sink>(document: &[u8], sink: &mut S) -> Result<(), S::Error> {
    read_with(document, None, sink)
}

/// The same; `text` is the document where packages may be read without the parser.
fn read_with<S: Sink>(document: &[u8], text: Option<&str>, sink: &mut S) -> Result<(), S::Error> {
    let mut reader = Reader::from_reader(document);
    let header = header(&mut reader);
    header.map_err(|reason| sink.damaged(reason))?;
    let mut draft = Draft::default();
    let mut ended = false;
    usual(text, &mut reader, &mut draft, sink)?;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_) | Event::Empty(_)) if ended => {
                return Err(sink.damaged("it goes on after its end".to_owned()));
            }
            Ok(Event::Start(start)) => {
                let element = Element::of(start.name().as_ref());
                draft.start(element, &start, Content::Reader(&mut reader), sink)?;
            }
            Ok(Event::Empty(empty)) => {
                let element = Element::of(empty.name().as_ref());
                draft.start(element, &empty, Content::None, sink)?;
            }
            Ok(Event::End(end)) => match Element::of(end.name().as_ref()) {
                Element::Package => {
                    sink.package(&mut draft)?;
                    draft.clear();
                    if !ended {
                        usual(text, &mut reader, &mut draft, sink)?;
                    }
                }
                Element::Metadata => ended = true,
                element => draft.end(element),
            },
            Ok(Event::Eof) if ended => return Ok(()),
            Ok(Event::Eof) => return Err(sink.damaged("it ends before `</metadata>`".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(sink.damaged(error.to_string())),
        }
    }
}

/// Reads the packages that follow and are in the usual shape; the reader goes on after them.
fn usual<S: Sink>(
    text: Option<&str>,
    reader: &mut Reader<&[u8]>,
    draft: &mut DraftOf<S>,
    sink: &mut S,
) -> Result<(), S::Error> {
    let rest = *reader.get_ref();
    let rest_text = text.and_then(|text| text.get(text.len() - rest.len()..));
    if let Some(rest_text) = rest_text {
        let length = quick::packages(rest_text, draft, sink)?;
        *reader.get_mut() = &rest[length..];
    }
    Ok(())
}

/// The document's own element, which says how many packages it has.
fn header(reader: &mut Reader<&[u8]>) -> Result<(), String> {
    loop {
        match reader.read_event().map_err(|error| error.to_string())? {
            Event::Decl(_) | Event::Comment(_) => {}
            Event::Text(text) if text.trim().is_empty() => {}
            Event::Start(start) if start.name().as_ref() == "metadata" => {
                let [count] = attributes(&start, ["packages"])?;
                let count = count.ok_or("it does not say how many packages it has")?;
                return number(&count).map(|_| ());
            }
            _ => return Err("it does not begin as a list of packages does".to_owned()),
        }
    }
}

impl<D, P> Draft<D, P> {
    pub(super) fn clear(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.arch,
            &mut self.epoch,
            &mut self.version,
            &mut self.release,
            &mut self.checksum.0,
            &mut self.checksum.1,
            &mut self.vendor,
            &mut self.location,
        ];
        texts.into_iter().for_each(String::clear);
        self.lists.iter_mut().for_each(Vec::clear);
        self.paths.clear();
        (self.build_time, self.size) = (0, None);
        self.list = None;
    }

    /// Takes in the end of an element.
    pub(super) fn end(&mut self, element: Element) {
        if matches!(element, Element::List(_)) {
            self.list = None;
        }
    }

    /// Takes in an element.
    pub(super) fn start<S: Sink<Dependency = D, Path = P>>(
        &mut self,
        element: Element,
        tag: &BytesStart<'_>,
        content: Content<'_, '_>,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if element == Element::Entry {
            return self.entry(tag, sink);
        }
        if element == Element::File {
            let path = text(tag, content).map_err(|reason| sink.damaged(reason))?;
            self.paths.push(sink.path(&path));
            return Ok(());
        }
        self.field(element, tag, content)
            .map_err(|reason| sink.damaged(reason))
    }

    /// Takes in a dependency.
    pub(super) fn entry<S: Sink<Dependency = D, Path = P>>(
        &mut self,
        tag: &BytesStart<'_>,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        if let Some(list) = self.list {
            self.lists[list].push(sink.dependency(list, tag)?);
        }
        Ok(())
    }

    fn field(
        &mut self,
        element: Element,
        tag: &BytesStart<'_>,
        content: Content<'_, '_>,
    ) -> Result<(), String> {
        let into = match element {
            Element::Name => &mut self.name,
            Element::Arch => &mut self.arch,
            Element::Vendor => &mut self.vendor,
            Element::Checksum => {
                if !self.checksum.1.is_empty() {
                    return Err(format!("the package `{}` has two checksums", self.name));
                }
                let [kind, _is_id] = attributes(tag, ["type", "pkgid"])?;
                self.checksum.0.push_str(&there(tag, "type", kind)?);
                &mut self.checksum.1
            }
            Element::Version => {
                let [epoch, version, release] = attributes(tag, ["epoch", "ver", "rel"])?;
                for (into, value) in [
                    (&mut self.epoch, epoch.unwrap_or_default()),
                    (&mut self.version, there(tag, "ver", version)?),
                    (&mut self.release, there(tag, "rel", release)?),
                ] {
                    value.as_ref().clone_into(into);
                }
                return Ok(());
            }
            Element::Time => {
                let [_file, build] = attributes(tag, ["file", "build"])?;
                self.build_time = number(&there(tag, "build", build)?)?;
                return Ok(());
            }
            Element::Size => {
                let names = ["package", "installed", "archive"];
                let [package, installed, _archive] = attributes(tag, names)?;
                self.size = Some(number(&there(tag, "package", package)?)?);
                // Nothing asks for it: a list that has no number there is damaged all the same.
                number(&there(tag, "installed", installed)?)?;
                return Ok(());
            }
            Element::Location => return self.place(tag),
            Element::List(_) | Element::Rpm => {
                // An empty element opens nothing.
                if !matches!(content, Content::None) {
                    self.list = match element {
                        Element::List(list) => Some(list),
                        _ => None,
                    };
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        text(tag, content)?.as_ref().clone_into(into);
        Ok(())
    }

    fn place(&mut self, tag: &BytesStart<'_>) -> Result<(), String> {
        let [place, base] = attributes(tag, ["href", "xml:base"])?;
        let place = place.ok_or("a package's location says nothing")?;
        if base.is_some() {
            return Err(format!(
                "`{place}` has a base address of its own, which is not supported"
            ));
        }
        place.as_ref().clone_into(&mut self.location);
        Ok(())
    }
}

/// An element's text.
fn text<'a>(element: &BytesStart<'_>, content: Content<'_, 'a>) -> Result<Cow<'a, str>, String> {
    match content {
        Content::None => Ok(Cow::Borrowed("")),
        Content::Reader(reader) => {
            let text = reader
                .read_text(element.name())
                .map_err(|error| error.to_string())?;
            unescaped(&text)
        }
        Content::Text(text) if memchr::memchr2(b'&', b'\r', text.as_bytes()).is_none() => {
            Ok(Cow::Borrowed(text))
        }
        Content::Text(text) => unescaped(&BytesText::from_escaped(text)),
    }
}

fn unescaped<'a>(text: &BytesText<'a>) -> Result<Cow<'a, str>, String> {
    let plain = match text.xml_content(XML) {
        Cow::Borrowed(text) => quick_xml::escape::unescape(text),
        Cow::Owned(text) => {
            quick_xml::escape::unescape(&text).map(|text| Cow::Owned(text.into_owned()))
        }
    };
    plain.map_err(|error| error.to_string())
}

/// An attribute's value. Some repositories have ampersands that were escaped twice (`createrepo_c`, issue 286).
fn value<'a>(attribute: &Attribute<'a>) -> Result<Cow<'a, str>, String> {
    let mut value = attribute
        .normalized_value(XML)
        .map_err(|error| error.to_string())?;
    while value.contains("&#38;") {
        value = Cow::Owned(value.replace("&#38;", "&"));
    }
    Ok(value)
}

/// The values of the attributes with these names.
fn attributes<'a, const N: usize>(
    element: &'a BytesStart<'_>,
    names: [&str; N],
) -> Result<[Option<Cow<'a, str>>; N], String> {
    let mut values = [const { None }; N];
    if let Some(plain) = quick::attributes(element, names) {
        return Ok(plain.map(|value| value.map(Cow::Borrowed)));
    }
    for attribute in element.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        if let Some(place) = names
            .iter()
            .position(|name| *name == attribute.key.as_ref())
        {
            values[place] = Some(value(&attribute)?);
        }
    }
    Ok(values)
}

/// The value of the attribute with this name, which may not be missing.
fn there<'a>(
    element: &BytesStart<'_>,
    name: &str,
    value: Option<Cow<'a, str>>,
) -> Result<Cow<'a, str>, String> {
    value.ok_or_else(|| format!("a `<{}>` lacks `{name}`", element.name().as_ref()))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number that it can have"))
}

/// A dependency's element that was read.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    name: Cow<'a, str>,
    comparison: Option<Comparison>,
    version: Cow<'a, str>,
    /// Whether scriptlets need it.
    pub(super) pre: bool,
}

impl Entry<'_> {
    /// The dependency.
    pub(super) fn parts(&self) -> DependencyParts<'_> {
        let comparison = self.comparison;
        let comparison = comparison.map(|comparison| (comparison, self.version.as_ref()));
        DependencyParts::new(&self.name, comparison)
    }

    /// With a text of its own.
    pub(super) fn to_requirement(&self) -> Requirement {
        Requirement {
            dependency: self.parts().to_dependency(),
            pre: self.pre,
        }
    }
}

/// Reads a dependency's element.
pub(super) fn entry<'a>(element: &'a BytesStart<'_>) -> Result<Entry<'a>, String> {
    let names = ["name", "flags", "epoch", "ver", "rel", "pre"];
    let [name, comparison, epoch, version, release, pre] = attributes(element, names)?;
    let name = name.ok_or("a dependency has no name")?;
    let comparison = comparison.map(|text| flags(&text)).transpose()?;
    let (epoch, version) = (epoch.unwrap_or_default(), version.unwrap_or_default());
    let version = match (epoch.as_ref(), release.unwrap_or_default().as_ref()) {
        ("" | "0", "") => version,
        ("" | "0", release) => Cow::Owned([&version, "-", release].concat()),
        (epoch, "") => Cow::Owned([epoch, ":", &version].concat()),
        (epoch, release) => Cow::Owned([epoch, ":", &version, "-", release].concat()),
    };
    Ok(Entry {
        name,
        comparison,
        version,
        pre: pre.is_some_and(|pre| pre != "0" && !pre.eq_ignore_ascii_case("false")),
    })
}

fn flags(text: &str) -> Result<Comparison, String> {
    Ok(match text {
        "LT" => Comparison::Less,
        "LE" => Comparison::LessOrEqual,
        "EQ" => Comparison::Equal,
        "GE" => Comparison::GreaterOrEqual,
        "GT" => Comparison::Greater,
        other => return Err(format!("`{other}` is not a comparison")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What was read, as text.
    #[derive(Default)]
    struct Told(Vec<String>);

    impl Sink for Told {
        type Dependency = String;
        type Path = String;
        type Error = String;

        fn damaged(&self, reason: String) -> String {
            reason
        }

        fn dependency(&mut self, list: usize, element: &BytesStart<'_>) -> Result<String, String> {
            let one = entry(element)?.to_requirement();
            Ok(format!("{} {} {}", LISTS[list], one.dependency, one.pre))
        }

        fn path(&mut self, path: &str) -> String {
            path.to_owned()
        }

        fn package(&mut self, draft: &mut DraftOf<Self>) -> Result<(), String> {
            self.0.push(format!("{draft:?}"));
            Ok(())
        }
    }

    fn told(document: &str, text: Option<&str>) -> (Vec<String>, Result<(), String>) {
        let mut told = Told::default();
        let outcome = read_with(document.as_bytes(), text, &mut told);
        (told.0, outcome)
    }

    /// Both readers take a document alike, and refuse it with the same words.
    fn check(document: &str) -> (Vec<String>, Result<(), String>) {
        let plain = told(document, None);
        assert_eq!(told(document, Some(document)), plain, "{document}");
        plain
    }

    const BEGINNING: &str =
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata packages=\"2\">\n";
    const PACKAGE: &str = r#"<package type="rpm">
  <name>b&amp;b</name>
  <arch>noarch</arch>
  <version epoch="0" ver="1.0" rel="1"/>
  <checksum type="sha256" pkgid="YES">aa</checksum>
  <summary>A &lt;b&gt;</summary>
  <description>It is &#38; was
more than &quot;one&quot; line</description>
  <packager/>
  <url>https://example.org/?a=1&amp;b=2</url>
  <time file="1" build="2"/>
  <size package="1" installed="2" archive="3"/>
  <location href="b-1.0-1.noarch.rpm"/>
  <format>
    <rpm:license>MIT</rpm:license>
    <rpm:vendor>V</rpm:vendor>
    <rpm:group>Unspecified</rpm:group>
    <rpm:buildhost>h</rpm:buildhost>
    <rpm:sourcerpm>b-1.0-1.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="1" end="2"/>
    <rpm:provides>
      <rpm:entry name="b" flags="EQ" epoch="0" ver="1.0" rel="1"/>
      <rpm:entry name="(c &gt;= 1)"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="/bin/sh" pre="1"/>
    </rpm:requires>
    <rpm:suggests/>
    <file>/usr/bin/b</file>
    <file type="dir">/usr/share/b</file>
  </format>
</package>
"#;

    #[test]
    fn a_package_in_the_usual_shape_needs_no_parser() {
        let mut told = Told::default();
        let length = quick::packages(&PACKAGE.repeat(2), &mut Draft::default(), &mut told).unwrap();
        assert_eq!((length, told.0.len()), (PACKAGE.len() * 2 - 1, 2));
    }

    #[test]
    fn what_is_unusual_is_left_to_the_parser() {
        let packages = |text: &str| check(&format!("{BEGINNING}{text}</metadata>"));
        let usual = packages(&PACKAGE.repeat(2));
        assert_eq!((usual.0.len(), &usual.1), (2, &Ok(())));
        for (from, to) in [
            ("<name>", "<!-- <name>z</name> --><name>"),
            ("<name>b&amp;b", "<name><![CDATA[c]]>"),
            ("<name>b&amp;b</name>", "<name>b<x/>b</name>"),
            ("<name>", "text <name>"),
            ("ver=\"1.0\"", "ver='1.0'"),
            ("ver=\"1.0\"", "ver=\"1>0\""),
            ("ver=\"1.0\"", "ver=\"1&lt;0\" "),
            ("ver=\"1.0\"", "ver=\"1\n0\""),
            ("rel=\"1\"/>", "rel=\"1\" rel=\"2\"/>"),
            ("pre=\"1\"/>", "pre=\"1\"></rpm:entry>"),
            (
                "<format>",
                "<rpm:requires><rpm:entry name=\"x\"/></rpm:requires><format>",
            ),
            (
                "<format>",
                "<rpm:requires>x</rpm:requires><rpm:entry name=\"y\"/><format>",
            ),
            (
                "</rpm:requires>",
                "<rpm:license>x</rpm:license><rpm:entry name=\"y\"/></rpm:requires>",
            ),
            ("<packager/>", "<metadata></metadata>"),
            ("<packager/>", "<package></package>"),
            ("<packager/>", "<packager>&undefined;</packager>"),
            ("<packager/>", "<packager>a & b</packager>"),
            ("<packager/>", "<?pi?>"),
            ("</name>", "</name >"),
            ("</name>", "</nam>"),
            ("</package>", "</package>text<name>stray</name>"),
            ("</package>", ""),
            ("A &lt;b&gt;", "A &b;"),
            ("\n", "\r\n"),
        ] {
            let changed = PACKAGE.replacen(from, to, 1);
            assert_ne!(changed, PACKAGE, "{from}");
            let _alike = packages(&format!("{changed}{PACKAGE}"));
            let _alike = packages(&format!("{PACKAGE}{changed}{PACKAGE}"));
        }
    }

    fn mutation() -> impl Strategy<Value = (prop::sample::Index, usize, String)> {
        let piece = prop_oneof![
            "[<>/&;'\" =a-z:!?\\[\\]-]{0,3}",
            prop::sample::select(vec![
                "<!--",
                "-->",
                "<![CDATA[",
                "]]>",
                "</package>",
                "<package>",
                "</metadata>",
                "<name>",
                "</name>",
                "<format>",
                "</format>",
                "<rpm:requires>",
                "</rpm:requires>",
                "<rpm:entry name=\"q\"/>",
                "&amp;",
                "&x;",
                "<file>",
                "\r\n",
                "ä",
            ])
            .prop_map(str::to_owned),
        ];
        (any::<prop::sample::Index>(), 0..8_usize, piece)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn both_readers_take_every_document_alike(mutations in proptest::collection::vec(mutation(), 1..5)) {
            let mut document = format!("{BEGINNING}{}</metadata>\n", PACKAGE.repeat(2));
            for (at, removed, added) in mutations {
                let mut start = at.index(document.len());
                while !document.is_char_boundary(start) {
                    start -= 1;
                }
                let mut end = document.len().min(start + removed);
                while !document.is_char_boundary(end) {
                    end -= 1;
                }
                document.replace_range(start..end.max(start), &added);
            }
            let _alike = check(&document);
        }
    }
}
