//! What was put in comes out; damage is seen, and never a panic.

use proptest::prelude::*;

use super::blocks::Section;
use super::*;
use crate::repository::{Checksum, PackageEntry};
use crate::rpm::{Comparison, Dependency, Nevra, PackageFacts, Requirement};

fn dependency() -> impl Strategy<Value = Dependency> {
    let comparison = proptest::option::of((0..5_usize, "[0-9.:-]{0,6}"));
    let name = prop_oneof![
        "[a-d]{1,2}",
        "/[a-d]{1,2}/x",
        "\\PC{1,8}",
        Just("rpmlib(X)".to_owned())
    ];
    let plain = (name, comparison).prop_map(|(name, comparison)| {
        let comparison = comparison.map(|(kind, version)| (Comparison::ALL[kind], version));
        Dependency::new(
            &name,
            comparison
                .as_ref()
                .map(|(kind, version)| (*kind, version.as_str())),
        )
    });
    prop_oneof![4 => plain, 1 => "[a-d]{1,2}".prop_map(|name| Dependency::new(&format!("({name} if b)"), None))]
}

fn list() -> impl Strategy<Value = Vec<Dependency>> {
    proptest::collection::vec(dependency(), 0..4)
}

prop_compose! {
    fn entry()(
        name in "[a-d]{1,2}", epoch in 0..3_u32, texts in proptest::array::uniform4("\\PC{0,6}"),
        lists in proptest::array::uniform7(list()), pre in any::<bool>(),
        requires in list(), files in proptest::collection::vec("/[a-d]{1,2}/x", 0..3),
        numbers in any::<[u64; 2]>(), digest in any::<[u8; 8]>(), long in any::<bool>(),
    ) -> PackageEntry {
        let [version, release, vendor, location] = texts;
        let [provides, conflicts, obsoletes, recommends, suggests, supplements, enhances] = lists;
        let nevra = Nevra { name, epoch, version, release, arch: "noarch".to_owned() };
        let id = Digest::of(&digest).hex();
        let (id, kind) = if long { (id.repeat(2), "sha512") } else { (id, "sha256") };
        PackageEntry {
            facts: PackageFacts {
                vendor, provides, conflicts, obsoletes, recommends, suggests, supplements, enhances, files,
                build_time: numbers[1],
                requires: requires.into_iter().map(|dependency| Requirement { dependency, pre }).collect(),
                ..PackageFacts::new(nevra)
            },
            location,
            size: numbers[0],
            checksum: Checksum::parse(kind, &id).unwrap(),
            id,
        }
    }
}

fn made_of(entries: &[PackageEntry]) -> Made {
    let mut builder = Builder::new();
    for entry in entries {
        builder.add(entry).unwrap();
    }
    builder.finish(&key()).unwrap()
}

fn bytes(entries: &[PackageEntry]) -> Vec<u8> {
    file(&made_of(entries))
}

fn file(made: &Made) -> Vec<u8> {
    let file = tempfile::NamedTempFile::new().unwrap();
    made.write(file.as_file()).unwrap();
    let bytes = fs_err::read(file.path()).unwrap();
    assert_eq!(bytes.len() as u64, made.length());
    bytes
}

fn key() -> Digest {
    Digest::of(b"primary")
}

/// Everything that can be asked of an index.
fn ask_all(index: &Index) -> Result<Vec<PackageEntry>, Damage> {
    let all = |_: &PackageEntry| true;
    let mut names = Vec::new();
    index.capabilities(|name| names.push(name.to_owned()))?;
    let mut reach = Reach::new([Offered { index, sees: &all }], true);
    for name in names {
        reach.request(&name)?;
        for package in index.packages_of(&name)? {
            index.nevra(package)?;
        }
    }
    let found = reach.into_packages().remove(0);
    let number = |place: usize| u32::try_from(place).unwrap();
    for place in 0..index.len().min(1000) {
        index.entry(number(place))?;
    }
    Ok(found.into_values().collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_put_in_comes_out(entries in proptest::collection::vec(entry(), 0..8)) {
        let bytes = bytes(&entries);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        fs_err::write(&path, &bytes).unwrap();
        let read = Index::from_bytes(bytes.clone(), &key());
        for index in [Index::open(&path, &key()), read, made_of(&entries).index()] {
            let index = index.unwrap();
            prop_assert_eq!(index.len(), entries.len());
            for (place, entry) in entries.iter().enumerate() {
                prop_assert_eq!(&index.entry(u32::try_from(place).unwrap()).unwrap(), entry);
            }
            prop_assert_eq!(&ask_all(&index).unwrap(), &entries);
            for name in ["a", "bb", "/a/x", "rpmlib(X)", "none"] {
                let expected: Vec<_> = (0..).zip(&entries).filter(|(_, entry)| {
                    let facts = &entry.facts;
                    facts.nevra.name == name || facts.files.iter().any(|file| file == name)
                        || facts.provides.iter().any(|provided| provided.name() == name)
                }).map(|(place, _)| place).collect::<Vec<u32>>();
                prop_assert_eq!(index.packages_of(name).unwrap(), expected);
            }
        }
    }

    #[test]
    fn several_builders_make_one_index(
        entries in proptest::collection::vec(entry(), 0..12), lanes in 1..4_usize, length in 1..4_usize,
    ) {
        let mut builders: Vec<Builder> = (0..lanes).map(|_| Builder::new()).collect();
        for (piece, entries) in entries.chunks(length).enumerate() {
            let builder = &mut builders[piece % lanes];
            for entry in entries {
                builder.add(entry).unwrap();
            }
            prop_assert_eq!(builder.end_piece(piece), entries.len());
        }
        let joined = Builder::join(builders, &key()).unwrap().index().unwrap();
        let alone = Index::from_bytes(bytes(&entries), &key()).unwrap();
        prop_assert_eq!(&ask_all(&joined).unwrap(), &entries);
        let mut names = Vec::new();
        alone.capabilities(|name| names.push(name.to_owned())).unwrap();
        let mut others = Vec::new();
        joined.capabilities(|name| others.push(name.to_owned())).unwrap();
        names.sort();
        others.sort();
        prop_assert_eq!(&names, &others);
        for name in names {
            prop_assert_eq!(joined.packages_of(&name).unwrap(), alone.packages_of(&name).unwrap());
            prop_assert_eq!(joined.obsoleters_of(&name).unwrap(), alone.obsoleters_of(&name).unwrap());
        }
    }

    #[test]
    fn every_damage_is_seen(entries in proptest::collection::vec(entry(), 1..4), at in any::<prop::sample::Index>(), bit in 0..8_u32) {
        let mut bytes = bytes(&entries);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("index");
        fs_err::write(&path, &bytes).unwrap();
        prop_assert!(Index::open(&path, &key()).and_then(|index| ask_all(&index)).is_err());
        prop_assert!(Index::from_bytes(bytes.clone(), &key()).is_err());
    }

    /// Damage with a right checksum: somebody made it so.
    #[test]
    fn no_content_is_a_panic(
        entries in proptest::collection::vec(entry(), 1..4),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u32>()), 1..4),
    ) {
        let made = made_of(&entries);
        let mut parts = made.sections.each_ref().map(|section| section.parts().collect::<Vec<_>>().concat());
        for (at, value) in changes {
            let total: usize = parts.iter().map(Vec::len).sum();
            let mut at = at.index(total);
            for part in &mut parts {
                if at < part.len() {
                    let end = part.len().min(at + 4);
                    part[at..end].copy_from_slice(&value.to_le_bytes()[..end - at]);
                    break;
                }
                at -= part.len();
            }
        }
        let sections = parts.map(|part| Section::of_bytes([part]));
        let made = Made { sections: Arc::new(sections), primary: key() };
        for index in [made.index(), Index::from_bytes(file(&made), &key())].into_iter().flatten() {
            let _any_result_without_panic = ask_all(&index);
        }
    }
}

#[test]
fn what_is_no_index_of_these_metadata_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let refused = |bytes: &[u8], key: &Digest| {
        fs_err::write(&path, bytes).unwrap();
        Index::open(&path, key).unwrap_err().to_string()
    };
    let good = bytes(&[]);
    let mut newer = good.clone();
    newer[8] += 1;
    let messages = [
        refused(&good, &Digest::of(b"another")),
        refused(&newer, &key()),
        refused(&good[..good.len() - 1], &key()),
        refused(b"", &key()),
        refused(&[0; 1000], &key()),
        Index::open(&folder.path().join("none"), &key())
            .unwrap_err()
            .to_string(),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    the kept index is damaged: it is of other metadata
    the kept index is damaged: it has another version
    the kept index is damaged: it is cut off
    the kept index is damaged: it cannot be read
    the kept index is damaged: it is no index
    the kept index is damaged: it cannot be read
    ");
}
