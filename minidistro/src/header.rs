//! What the RPM crate's builder writes otherwise than rpmbuild, put right in the finished header.

use rpm::signature::pgp::Signer;
use rpm::{
    Error, Header, HeaderEntry, IndexData, IndexTag, Package, RpmFormat, SignatureHeaderBuilder,
};

/// How the builder, unlike rpmbuild, says that a scriptlet is in Lua.
const LUA: &str = "<lua>";
/// How rpmbuild says it.
const LUA_FEATURE: (&str, &str, u32) =
    ("rpmlib(BuiltinLuaScripts)", "4.2.2-1", RPMLIB | LESS_EQUAL);
const RPMLIB: u32 = 1 << 24;
const LESS_EQUAL: u32 = (1 << 1) | (1 << 3);

/// Names the source package, replaces dependencies on Lua, and signs, as of `time` (seconds since 1970).
pub(crate) fn finish(
    package: &mut Package,
    source: &str,
    signer: &Signer,
    time: u32,
) -> Result<(), Error> {
    let lua = lua_requirement(package)?;
    let entries = package.metadata.header.get_all_entries()?.into_iter();
    let entries = entries
        .filter(|(tag, _)| *tag != u32::from(IndexTag::RPMTAG_HEADERIMMUTABLE))
        .map(|(tag, mut data)| {
            match &mut data {
                IndexData::StringTag(text) if tag == u32::from(IndexTag::RPMTAG_SOURCERPM) => {
                    source.clone_into(text);
                }
                IndexData::StringArray(names) if tag == u32::from(IndexTag::RPMTAG_REQUIRENAME) => {
                    for &i in &lua {
                        LUA_FEATURE.0.clone_into(&mut names[i]);
                    }
                }
                IndexData::StringArray(versions)
                    if tag == u32::from(IndexTag::RPMTAG_REQUIREVERSION) =>
                {
                    for &i in &lua {
                        LUA_FEATURE.1.clone_into(&mut versions[i]);
                    }
                }
                IndexData::Int32(flags) if tag == u32::from(IndexTag::RPMTAG_REQUIREFLAGS) => {
                    for &i in &lua {
                        flags[i] = LUA_FEATURE.2;
                    }
                }
                _ => {}
            }
            HeaderEntry::new(tag, data)
        });
    package.metadata.header = Header::from_entries(entries, IndexTag::RPMTAG_HEADERIMMUTABLE);
    let header = package.header_bytes()?;
    package.metadata.signature = SignatureHeaderBuilder::new()
        .format(RpmFormat::V4)
        .reserved_space(None)
        .set_content_length((header.len() + package.payload.len()) as u64)
        .calculate_digests(&header)
        .build()?;
    package.sign_with_timestamp(signer, time)
}

/// Where among the dependencies those on Lua are.
fn lua_requirement(package: &Package) -> Result<Vec<usize>, Error> {
    let requires = package.metadata.get_requires()?;
    Ok(requires
        .iter()
        .enumerate()
        .filter(|(_, dependency)| dependency.name == LUA)
        .map(|(i, _)| i)
        .collect())
}
