//! Package URLs of RPMs, as the purl specification wants them.

use packageurl::PackageUrl;

use super::Item;

/// Vendors as headers spell them, and the name that other tools give their distribution (`ID` in os-release).
const VENDORS: [(&str, &str); 10] = [
    ("fedora", "fedora"),
    ("rocky", "rocky"),
    ("almalinux", "almalinux"),
    ("centos", "centos"),
    ("red hat", "redhat"),
    ("opensuse", "opensuse"),
    ("suse", "suse"),
    ("amazon", "amzn"),
    ("oracle", "oracle"),
    ("microsoft", "azurelinux"),
];

/// The package URL of an RPM: vendor, name, version and release; epoch, architecture and source package as qualifiers.
pub(super) fn of(item: &Item) -> Option<String> {
    let Item::Rpm { nevra, details, .. } = item else {
        return None;
    };
    let mut purl = PackageUrl::new("rpm", nevra.name.clone()).ok()?;
    purl.with_version(format!("{}-{}", nevra.version, nevra.release))
        .ok()?;
    purl.add_qualifier("arch", nevra.arch.clone()).ok()?;
    if nevra.epoch != 0 {
        purl.add_qualifier("epoch", nevra.epoch.to_string()).ok()?;
    }
    if let Some(details) = details {
        if let Some(namespace) = namespace(&details.facts.vendor) {
            purl.with_namespace(namespace).ok()?;
        }
        if let Some(source) = &details.facts.source_rpm {
            purl.add_qualifier("upstream", source.clone()).ok()?;
        }
    }
    Some(purl.to_string())
}

/// Who made it, in lower case and without blanks.
fn namespace(vendor: &str) -> Option<String> {
    let vendor = vendor.to_lowercase();
    let known = VENDORS.iter().find(|(start, _)| vendor.starts_with(start));
    if let Some((_, name)) = known {
        return Some((*name).to_owned());
    }
    let words = vendor.split(|c: char| !c.is_ascii_alphanumeric());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| words.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rpm::{PackageDetails, PackageFacts};

    #[test]
    fn rules_of_the_specification_hold() {
        let text = |nevra: &str, vendor: &str, source: Option<&str>| {
            let nevra: crate::rpm::Nevra = nevra.parse().unwrap();
            let mut facts = PackageFacts::new(nevra.clone());
            vendor.clone_into(&mut facts.vendor);
            facts.source_rpm = source.map(str::to_owned);
            let details = PackageDetails {
                facts,
                license: String::new(),
                url: String::new(),
                md5: None,
                signed_by: None,
            };
            of(&Item::Rpm {
                nevra,
                details: Some(std::sync::Arc::new(details)),
                digest: None,
                url: None,
            })
            .unwrap()
        };
        let texts = [
            text("curl-7.50.3-1.fc25.i386", "Fedora Project", None),
            text(
                "libstdc++-1:14.2~rc1^git-3.x86_64",
                "Red Hat, Inc.",
                Some("gcc-14.2-3.src.rpm"),
            ),
            text("tool-1-1.noarch", "", None),
            text("tool-1-1.src", "My Team, Inc.", None),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
        pkg:rpm/fedora/curl@7.50.3-1.fc25?arch=i386
        pkg:rpm/redhat/libstdc%2B%2B@14.2~rc1%5Egit-3?arch=x86_64&epoch=1&upstream=gcc-14.2-3.src.rpm
        pkg:rpm/tool@1-1?arch=noarch
        pkg:rpm/my-team-inc/tool@1-1?arch=src
        ");
    }
}
