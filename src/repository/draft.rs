//! `primary` read one package at a time, its text borrowed or in buffers that are used again.

use std::borrow::Cow;

use quick_xml::events::attributes::Attribute;
use quick_xml::events::{BytesStart, BytesText, Event};
use quick_xml::{Reader, XmlVersion};

use crate::rpm::{Comparison, Dependency, Requirement};

/// What the metadata's documents are.
const XML: XmlVersion = XmlVersion::Implicit1_0;
/// The elements of a package that have dependencies in them, in the order of [`Draft::lists`].
const LISTS: [&str; 8] = [
    "rpm:provides",
    "rpm:requires",
    "rpm:conflicts",
    "rpm:obsoletes",
    "rpm:recommends",
    "rpm:suggests",
    "rpm:supplements",
    "rpm:enhances",
];

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
    /// A dependency's element. Most occur many times: who has seen one need not read it again.
    fn dependency(&mut self, element: &BytesStart<'_>) -> Result<Self::Dependency, Self::Error>;
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
    pub(super) summary: String,
    pub(super) vendor: String,
    pub(super) source_rpm: String,
    pub(super) location: String,
    pub(super) build_time: u64,
    pub(super) size: Option<u64>,
    pub(super) installed_size: u64,
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
            summary: text(),
            vendor: text(),
            source_rpm: text(),
            location: text(),
            build_time: 0,
            size: None,
            installed_size: 0,
            lists: Default::default(),
            paths: Vec::new(),
            list: None,
        }
    }
}

/// Reads a document of packages to its end.
pub(super) fn read<S: Sink>(document: &[u8], sink: &mut S) -> Result<(), S::Error> {
    let mut reader = Reader::from_reader(document);
    let header = header(&mut reader);
    header.map_err(|reason| sink.damaged(reason))?;
    let mut draft = Draft::default();
    let mut ended = false;
    loop {
        match reader.read_event() {
            Ok(Event::Start(_) | Event::Empty(_)) if ended => {
                return Err(sink.damaged("it goes on after its end".to_owned()));
            }
            Ok(Event::Start(start)) => draft.start(&start, Some(&mut reader), sink)?,
            Ok(Event::Empty(empty)) => draft.start(&empty, None, sink)?,
            Ok(Event::End(end)) => match end.name().as_ref() {
                "package" => {
                    sink.package(&mut draft)?;
                    draft.clear();
                }
                "metadata" => ended = true,
                name if LISTS.contains(&name) => draft.list = None,
                _ => {}
            },
            Ok(Event::Eof) if ended => return Ok(()),
            Ok(Event::Eof) => return Err(sink.damaged("it ends before `</metadata>`".to_owned())),
            Ok(_) => {}
            Err(error) => return Err(sink.damaged(error.to_string())),
        }
    }
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
    fn clear(&mut self) {
        let texts = [
            &mut self.name,
            &mut self.arch,
            &mut self.epoch,
            &mut self.version,
            &mut self.release,
            &mut self.checksum.0,
            &mut self.checksum.1,
            &mut self.summary,
            &mut self.vendor,
            &mut self.source_rpm,
            &mut self.location,
        ];
        texts.into_iter().for_each(String::clear);
        self.lists.iter_mut().for_each(Vec::clear);
        self.paths.clear();
        (self.build_time, self.size, self.installed_size) = (0, None, 0);
        self.list = None;
    }

    /// Takes in an element; `content` is where its text follows, if it may have one.
    fn start<S: Sink<Dependency = D, Path = P>>(
        &mut self,
        element: &BytesStart<'_>,
        content: Option<&mut Reader<&[u8]>>,
        sink: &mut S,
    ) -> Result<(), S::Error> {
        let name = element.name();
        let name = name.as_ref();
        if name == "rpm:entry" {
            if let Some(list) = self.list {
                self.lists[list].push(sink.dependency(element)?);
            }
            return Ok(());
        }
        if name == "file" {
            let mut path = String::new();
            text(element, content, &mut path).map_err(|reason| sink.damaged(reason))?;
            self.paths.push(sink.path(&path));
            return Ok(());
        }
        self.field(name, element, content)
            .map_err(|reason| sink.damaged(reason))
    }

    fn field(
        &mut self,
        name: &str,
        element: &BytesStart<'_>,
        content: Option<&mut Reader<&[u8]>>,
    ) -> Result<(), String> {
        let into = match name {
            "name" => &mut self.name,
            "arch" => &mut self.arch,
            "summary" => &mut self.summary,
            "rpm:vendor" => &mut self.vendor,
            "rpm:sourcerpm" => &mut self.source_rpm,
            "checksum" => {
                if !self.checksum.1.is_empty() {
                    return Err(format!("the package `{}` has two checksums", self.name));
                }
                let [kind] = wanted(element, ["type"])?;
                self.checksum.0.push_str(&kind);
                &mut self.checksum.1
            }
            "version" => {
                let [epoch] = attributes(element, ["epoch"])?;
                epoch
                    .unwrap_or_default()
                    .as_ref()
                    .clone_into(&mut self.epoch);
                let [version, release] = wanted(element, ["ver", "rel"])?;
                version.as_ref().clone_into(&mut self.version);
                release.as_ref().clone_into(&mut self.release);
                return Ok(());
            }
            "time" => {
                let [build] = wanted(element, ["build"])?;
                self.build_time = number(&build)?;
                return Ok(());
            }
            "size" => {
                let [package, installed] = wanted(element, ["package", "installed"])?;
                self.size = Some(number(&package)?);
                self.installed_size = number(&installed)?;
                return Ok(());
            }
            "location" => return self.place(element),
            _ => {
                // An empty element opens nothing.
                if content.is_some() && name.starts_with("rpm:") {
                    self.list = LISTS.iter().position(|list| *list == name);
                }
                return Ok(());
            }
        };
        text(element, content, into)
    }

    fn place(&mut self, element: &BytesStart<'_>) -> Result<(), String> {
        let [place, base] = attributes(element, ["href", "xml:base"])?;
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

/// Puts an element's text into a buffer.
fn text(
    element: &BytesStart<'_>,
    content: Option<&mut Reader<&[u8]>>,
    into: &mut String,
) -> Result<(), String> {
    into.clear();
    if let Some(reader) = content {
        let text = reader
            .read_text(element.name())
            .map_err(|error| error.to_string())?;
        into.push_str(&unescaped(&text)?);
    }
    Ok(())
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

/// An attribute's value. Some repositories have ampersands that were escaped twice (createrepo_c, issue 286).
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

/// The same, where none may be missing.
fn wanted<'a, const N: usize>(
    element: &'a BytesStart<'_>,
    names: [&str; N],
) -> Result<[Cow<'a, str>; N], String> {
    let values = attributes(element, names)?;
    if let Some(missing) = values.iter().position(Option::is_none) {
        let element = element.name();
        return Err(format!(
            "a `<{}>` lacks `{}`",
            element.as_ref(),
            names[missing]
        ));
    }
    Ok(values.map(Option::unwrap_or_default))
}

fn number(text: &str) -> Result<u64, String> {
    text.parse()
        .map_err(|_| format!("`{text}` is not a number that it can have"))
}

/// Reads a dependency's element.
pub(super) fn requirement(element: &BytesStart<'_>) -> Result<Requirement, String> {
    let names = ["name", "flags", "epoch", "ver", "rel", "pre"];
    let [name, comparison, epoch, version, release, pre] = attributes(element, names)?;
    let name = name.ok_or("a dependency has no name")?;
    let comparison = comparison.map(|text| flags(&text)).transpose()?;
    let mut text = String::new();
    if let Some(epoch) = epoch.filter(|epoch| !matches!(epoch.as_ref(), "" | "0")) {
        text.push_str(&epoch);
        text.push(':');
    }
    text.push_str(&version.unwrap_or_default());
    if let Some(release) = release.filter(|release| !release.is_empty()) {
        text.push('-');
        text.push_str(&release);
    }
    Ok(Requirement {
        dependency: Dependency::new(
            &name,
            comparison.map(|comparison| (comparison, text.as_str())),
        ),
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
