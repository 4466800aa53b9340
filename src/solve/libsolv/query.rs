//! What a pool knows once it is indexed.
#![expect(unsafe_code, reason = "libsolv is a C library")]

use std::ffi::c_void;

use libc::c_int;
use rattler_libsolv_c as ffi;

use super::solver::Queue;
use super::{Place, Pool, SolvableId, StringId, c_string, copy, int};

impl Pool {
    /// The dependency as text.
    pub(in crate::solve) fn text(&mut self, id: StringId) -> String {
        // SAFETY: the id comes from this pool; the text lives in the pool's own temporary space and is copied at once.
        unsafe { copy(ffi::pool_dep2str(self.raw.as_ptr(), id.0)) }
    }

    /// All plain strings with a provider.
    pub(in crate::solve) fn provided(&self) -> Vec<String> {
        let (count, table) = (self.fields().ss.nstrings, self.fields().whatprovides);
        if table.is_null() {
            return Vec::new();
        }
        let provided = (2..count).filter(|id| {
            // SAFETY: `whatprovides` has an element for each string id below `nstrings`.
            unsafe { *table.offset(*id as isize) > 1 }
        });
        // SAFETY: the ids are below `nstrings`; the text is copied at once.
        provided
            .map(|id| unsafe { copy(ffi::pool_id2str(self.raw.as_ptr(), id)) })
            .collect()
    }

    /// All packages that provide `dependency`. After [`Pool::index`].
    pub(in crate::solve) fn providers(&mut self, dependency: StringId) -> Vec<SolvableId> {
        let pool = self.raw.as_ptr();
        let mut found = Vec::new();
        // SAFETY: after `pool_createwhatprovides` each string and relation id has an element in its table; an empty one
        // is computed by `pool_addrelproviders`, which may move the tables, so they are read anew afterwards.
        // The list of providers ends with a 0.
        unsafe {
            let offset = match self.place(dependency) {
                Place::Relation(index) => *(*pool).whatprovides_rel.add(index),
                Place::Plain(index) => *(*pool).whatprovides.add(index),
            };
            let offset = if offset == 0 {
                ffi::pool_addrelproviders(pool, dependency.0).cast_unsigned()
            } else {
                offset
            };
            let mut next = (*pool).whatprovidesdata.add(offset as usize);
            while *next != 0 {
                found.push(SolvableId(*next));
                next = next.add(1);
            }
        }
        // The first solvable stands for the system itself.
        found.retain(|solvable| solvable.0 > 1);
        found
    }

    /// All packages of all repositories whose own file list has `path`.
    pub(in crate::solve) fn file_owners(&mut self, path: &str) -> Vec<SolvableId> {
        unsafe extern "C" fn collect(
            data: *mut c_void,
            solvable: *mut ffi::Solvable,
            _: *mut ffi::Repodata,
            _: *mut ffi::Repokey,
            _: *mut ffi::KeyValue,
        ) -> c_int {
            // SAFETY: `data` is the vector below, which outlives the search and is not touched meanwhile.
            unsafe { (*data.cast::<Vec<*mut ffi::Solvable>>()).push(solvable) };
            0
        }
        let path = c_string(path);
        let mut found: Vec<*mut ffi::Solvable> = Vec::new();
        let flags = int(ffi::SEARCH_STRING | ffi::SEARCH_FILES);
        for repository in &self.repositories {
            // SAFETY: the repository belongs to the pool, the path is a C string, and `collect` gets the vector it expects.
            unsafe {
                ffi::repo_search(
                    repository.raw,
                    0,
                    self.known.file_list,
                    path.as_ptr(),
                    flags,
                    Some(collect),
                    (&raw mut found).cast(),
                );
            };
        }
        let table = self.fields().solvables;
        let ids = found.into_iter().map(|solvable| {
            // SAFETY: libsolv calls back with elements of the pool's own table.
            let index = unsafe { solvable.offset_from(table) };
            SolvableId(ffi::Id::try_from(index).unwrap_or_default())
        });
        ids.collect()
    }

    /// Name, EVR and architecture of a solvable.
    pub(in crate::solve) fn names(&self, solvable: SolvableId) -> [String; 3] {
        let solvable = self.solvable(solvable);
        // SAFETY: the solvable is an element of the table, its ids belong to the pool, the texts are copied at once.
        unsafe {
            [(*solvable).name, (*solvable).evr, (*solvable).arch]
                .map(|id| copy(ffi::pool_id2str(self.raw.as_ptr(), id)))
        }
    }

    /// The id of a solvable's name.
    pub(in crate::solve) fn name_id(&self, solvable: SolvableId) -> StringId {
        // SAFETY: the solvable is an element of the table.
        StringId(unsafe { (*self.solvable(solvable)).name })
    }

    /// Whether the solvable itself (not what it provides) matches a dependency: how obsoletes match.
    pub(in crate::solve) fn matches_itself(
        &mut self,
        solvable: SolvableId,
        dependency: StringId,
    ) -> bool {
        // libsolv takes only relations; without a version there is only the name.
        let Place::Relation(_) = self.place(dependency) else {
            return self.name_id(solvable) == dependency;
        };
        let solvable = self.solvable(solvable);
        // SAFETY: both belong to this pool, and the dependency is a relation.
        unsafe { ffi::pool_match_nevr_rel(self.raw.as_ptr(), solvable, dependency.0) != 0 }
    }

    /// Everything the solvable requires.
    pub(in crate::solve) fn requires(&mut self, solvable: SolvableId) -> Vec<StringId> {
        let raw = self.solvable(solvable);
        let mut queue = Queue::new();
        // SAFETY: the solvable is an element of the table; 0 asks for both sides of the marker.
        unsafe { ffi::solvable_lookup_deparray(raw, self.known.requires, &raw mut queue.raw, 0) };
        let marker = self.known.prerequisite_marker;
        queue
            .iter()
            .filter(|id| *id != marker)
            .map(StringId)
            .collect()
    }

    /// The plain capabilities in a dependency, rich ones taken apart, comparisons left off.
    pub(in crate::solve) fn leaves(&self, dependency: StringId, leaves: &mut Vec<StringId>) {
        let Place::Relation(index) = self.place(dependency) else {
            leaves.push(dependency);
            return;
        };
        // SAFETY: the index of a relation made by this pool is below its number of relations.
        let relation = unsafe { *self.fields().rels.add(index) };
        self.leaves(StringId(relation.name), leaves);
        // Larger flags join two dependencies; smaller ones compare with a version.
        if relation.flags > int(ffi::REL_GT | ffi::REL_EQ | ffi::REL_LT) {
            self.leaves(StringId(relation.evr), leaves);
        }
    }

    /// The text of a plain string.
    pub(in crate::solve) fn plain_text(&self, id: StringId) -> String {
        // SAFETY: the id comes from this pool; the text is copied at once.
        unsafe { copy(ffi::pool_id2str(self.raw.as_ptr(), id.0)) }
    }
}
