//! CycloneDX 1.6 in JSON, the part of it that a bill has.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::licence::Licence;
use super::{Bill, Item, purl};
use crate::digest::Digest;
use crate::words::clean;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Document {
    bom_format: &'static str,
    spec_version: &'static str,
    serial_number: String,
    version: u32,
    metadata: Metadata,
    components: Vec<Component>,
    dependencies: Vec<Dependencies>,
}

#[derive(Serialize)]
struct Metadata {
    timestamp: String,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(rename = "bom-ref", skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    supplier: Option<Supplier>,
    name: String,
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<LicenceChoice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    external_references: Vec<Reference>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
}

#[derive(Serialize)]
struct Supplier {
    name: String,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum LicenceChoice {
    License {
        name: String,
    },
    #[serde(untagged)]
    Expression {
        expression: String,
    },
}

#[derive(Serialize)]
struct Reference {
    #[serde(rename = "type")]
    kind: &'static str,
    url: String,
}

#[derive(Serialize)]
struct Property {
    name: &'static str,
    value: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependencies {
    #[serde(rename = "ref")]
    reference: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

pub(super) fn document(bill: &Bill) -> Document {
    let components = bill.items.iter().enumerate().skip(1);
    let components = components.map(|(place, item)| component(bill, place, item));
    let (name, version) = bill.tool.clone();
    let tool = Component::new("application", name, version);
    Document {
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: format!("urn:uuid:{}", uuid(&bill.identity)),
        version: 1,
        metadata: Metadata {
            timestamp: super::model::timestamp(bill.created),
            tools: Tools {
                components: vec![tool],
            },
            component: component(bill, 0, &bill.items[0]),
        },
        components: components.collect(),
        dependencies: dependencies(bill),
    }
}

impl Component {
    fn new(kind: &'static str, name: String, version: String) -> Self {
        Self {
            kind,
            reference: None,
            supplier: None,
            name,
            version,
            description: None,
            hashes: Vec::new(),
            licenses: Vec::new(),
            purl: None,
            external_references: Vec::new(),
            properties: Vec::new(),
        }
    }
}

fn component(bill: &Bill, place: usize, item: &Item) -> Component {
    let kind = match item {
        Item::Rpm { .. } => "library",
        Item::Environment { .. } => "operating-system",
    };
    let mut component = Component::new(kind, item.name(), item.version());
    component.reference = Some(item.id());
    component.purl = purl::of(item);
    let hash = |digest: Digest| Hash {
        alg: "SHA-256",
        content: digest.hex(),
    };
    component.hashes = item.digest().into_iter().map(hash).collect();
    if let Item::Rpm { url: Some(url), .. } = item {
        let url = super::model::web(url);
        let reference = url.map(|url| Reference {
            kind: "distribution",
            url,
        });
        component.external_references.extend(reference);
    }
    if let Some(details) = item.details() {
        let text = |text: &str| Some(clean(text, false)).filter(|text| !text.is_empty());
        component.supplier = text(&details.facts.vendor).map(|name| Supplier { name });
        component.description = text(&details.facts.summary);
        component.licenses = licence(&details.license).into_iter().collect();
        let page = super::model::web(&details.url);
        let page = page.map(|url| Reference {
            kind: "website",
            url,
        });
        component.external_references.extend(page);
    }
    component.properties = properties(bill, place);
    component
}

fn licence(text: &str) -> Option<LicenceChoice> {
    match Licence::parse(text) {
        Licence::Unknown => None,
        Licence::Expression(expression) => Some(LicenceChoice::Expression { expression }),
        Licence::Words(name) => Some(LicenceChoice::License { name }),
    }
}

/// What it requires and nothing here provides, and what it was built from and in: CycloneDX has no relation for it.
fn properties(bill: &Bill, place: usize) -> Vec<Property> {
    let unmet = bill.unmet.get(&place).into_iter().flatten();
    let unmet = unmet.map(|text| Property {
        name: "pristine:requires",
        value: clean(text, false),
    });
    let built = bill.built_in.iter().filter(|(built, _)| *built == place);
    let built = built.map(|(_, used)| Property {
        name: match &bill.items[*used] {
            Item::Rpm { .. } => "pristine:built-from",
            Item::Environment { .. } => "pristine:built-in",
        },
        value: bill.items[*used].id(),
    });
    unmet.chain(built).collect()
}

fn dependencies(bill: &Bill) -> Vec<Dependencies> {
    let mut on: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for (from, to) in &bill.depends {
        on.entry(*from).or_default().insert(*to);
    }
    if bill.contains {
        on.insert(0, (1..bill.items.len()).collect());
    }
    // An entry says that all is known: of what could not be read, or is only named, there is none.
    let known = |place: &usize| {
        let looked_at = *place == 0 || bill.contains && bill.items[*place].details().is_some();
        looked_at || on.contains_key(place)
    };
    let known = (0..bill.items.len()).filter(known);
    known
        .map(|place| Dependencies {
            reference: bill.items[place].id(),
            depends_on: on
                .get(&place)
                .into_iter()
                .flatten()
                .map(|to| bill.items[*to].id())
                .collect(),
        })
        .collect()
}

/// A UUID of version 8, of the first bytes of a digest.
fn uuid(digest: &Digest) -> String {
    let mut bytes = *digest.bytes();
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: Vec<String> = bytes[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let part = |from: usize, to: usize| hex[from..to].concat();
    [
        part(0, 4),
        part(4, 6),
        part(6, 8),
        part(8, 10),
        part(10, 16),
    ]
    .join("-")
}
