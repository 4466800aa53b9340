//! libsolv behind a safe face: the only folder of the project that calls it.
//!
//! A pool owns everything that hangs on it (repositories, solvables, strings) and is freed with them.
//! No pointer leaves it: outside, strings, solvables and repositories are numbers, checked
//! where they come back in. A pool is neither `Send` nor `Sync`, as libsolv demands.
#![expect(unsafe_code, reason = "libsolv is a C library")]

use std::ffi::{CStr, CString};
use std::ptr::NonNull;

use libc::{c_char, c_int};
use rattler_libsolv_c as ffi;

mod query;
mod solver;

pub(super) use solver::{Answer, Job, Rule};

/// A string or relation of the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct StringId(ffi::Id);

/// A package in the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SolvableId(ffi::Id);

/// A repository of the pool, by its place among those added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RepositoryIndex(usize);

/// How two strings are joined into one dependency; the values are libsolv's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Relation {
    Greater = ffi::REL_GT,
    Equal = ffi::REL_EQ,
    GreaterOrEqual = ffi::REL_GT | ffi::REL_EQ,
    Less = ffi::REL_LT,
    LessOrEqual = ffi::REL_LT | ffi::REL_EQ,
    And = ffi::REL_AND,
    Or = ffi::REL_OR,
    With = ffi::REL_WITH,
    Without = ffi::REL_WITHOUT,
    If = ffi::REL_COND,
    Unless = ffi::REL_UNLESS,
    Else = ffi::REL_ELSE,
}

/// The lists of dependencies that a solvable has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    Provides,
    Requires,
    /// Requires that must be there before the package's scriptlets run.
    RequiresBefore,
    Conflicts,
    Obsoletes,
    Recommends,
    Suggests,
    Supplements,
    Enhances,
}

pub(super) struct Pool {
    raw: NonNull<ffi::Pool>,
    repositories: Vec<Repository>,
    known: Known,
}

struct Repository {
    raw: *mut ffi::Repo,
    files: *mut ffi::Repodata,
}

/// Where an id stands in its table.
enum Place {
    Plain(usize),
    Relation(usize),
}

/// Strings that libsolv itself knows.
struct Known {
    prerequisite_marker: ffi::Id,
    file_marker: ffi::Id,
    file_list: ffi::Id,
    requires: ffi::Id,
}

impl Drop for Pool {
    fn drop(&mut self) {
        // SAFETY: the pool was made by `pool_create`, is freed once, and nothing points into it any more.
        unsafe { ffi::pool_free(self.raw.as_ptr()) }
    }
}

impl Pool {
    /// A pool with RPM's semantics for the architecture `arch`; `None` where this libsolv was built without them.
    pub(super) fn new(arch: &str) -> Option<Self> {
        let arch = c_string(arch);
        let known = |raw: *mut ffi::Pool, name: &CStr| {
            // SAFETY: the pool is alive and the name ends in a NUL.
            unsafe { ffi::pool_str2id(raw, name.as_ptr(), 1) }
        };
        // SAFETY: `pool_create` aborts rather than give null; the calls take the fresh pool and a C string.
        let raw = unsafe {
            let raw = ffi::pool_create();
            ffi::pool_setdisttype(raw, int(ffi::DISTTYPE_RPM));
            ffi::pool_setarch(raw, arch.as_ptr());
            // As dnf sets them.
            for flag in [
                ffi::POOL_FLAG_IMPLICITOBSOLETEUSESCOLORS,
                ffi::POOL_FLAG_WHATPROVIDESWITHDISABLED,
            ] {
                ffi::pool_set_flag(raw, int(flag), 1);
            }
            raw
        };
        let pool = Self {
            raw: NonNull::new(raw)?,
            repositories: Vec::new(),
            known: Known {
                prerequisite_marker: known(raw, c"solvable:prereqmarker"),
                file_marker: known(raw, c"solvable:filemarker"),
                file_list: known(raw, c"solvable:filelist"),
                requires: known(raw, c"solvable:requires"),
            },
        };
        (pool.fields().disttype == int(ffi::DISTTYPE_RPM)).then_some(pool)
    }

    fn fields(&self) -> &ffi::Pool {
        // SAFETY: the pool lives as long as `self`; no C call runs while the reference is used, as those take `&mut self` or
        // change only caches that are not read through it.
        unsafe { self.raw.as_ref() }
    }

    /// The string's id, made where it is new.
    pub(super) fn string(&mut self, text: &str) -> StringId {
        // A C library ends a string at a NUL; metadata cannot have one.
        let text = text.split('\0').next().unwrap_or_default();
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX);
        // SAFETY: the pool is alive; the pointer is valid for `length` bytes, which are copied.
        StringId(unsafe {
            ffi::pool_strn2id(self.raw.as_ptr(), text.as_ptr().cast::<c_char>(), length, 1)
        })
    }

    /// The id of `left relation right`.
    pub(super) fn relation(
        &mut self,
        left: StringId,
        relation: Relation,
        right: StringId,
    ) -> StringId {
        // SAFETY: the pool is alive; both ids come from it.
        StringId(unsafe {
            ffi::pool_rel2id(self.raw.as_ptr(), left.0, right.0, relation as c_int, 1)
        })
    }

    /// Adds an empty repository; higher priorities win, then lower costs.
    pub(super) fn add_repository(
        &mut self,
        name: &str,
        priority: i32,
        cost: i32,
    ) -> RepositoryIndex {
        let name = c_string(name);
        // SAFETY: the pool is alive and the name is copied by libsolv; the repository belongs to the pool.
        // A repodata moves only when another is added to the same repository, which never happens.
        let repository = unsafe {
            let raw = ffi::repo_create(self.raw.as_ptr(), name.as_ptr());
            (*raw).priority = priority;
            (*raw).subpriority = cost.saturating_neg();
            Repository {
                raw,
                files: ffi::repo_add_repodata(raw, 0),
            }
        };
        self.repositories.push(repository);
        RepositoryIndex(self.repositories.len() - 1)
    }

    /// Says that the packages of this repository are installed.
    pub(super) fn set_installed(&mut self, repository: RepositoryIndex) {
        let raw = self.repositories[repository.0].raw;
        // SAFETY: both belong to this pool.
        unsafe { ffi::pool_set_installed(self.raw.as_ptr(), raw) }
    }

    /// Adds a package that provides itself.
    pub(super) fn add_solvable(
        &mut self,
        repository: RepositoryIndex,
        [name, evr, arch, vendor]: [&str; 4],
    ) -> SolvableId {
        let [name, arch] = [name, arch].map(|text| self.string(text));
        let evr = self.string(evr);
        let vendor = if vendor.is_empty() {
            StringId(0)
        } else {
            self.string(vendor)
        };
        let itself = self.relation(name, Relation::Equal, evr);
        let raw = self.repositories[repository.0].raw;
        // SAFETY: the repository belongs to this pool.
        let id = unsafe { ffi::repo_add_solvable(raw) };
        let solvable = self.solvable(SolvableId(id));
        // SAFETY: `solvable` points to the solvable just made; no other reference to it exists.
        unsafe {
            (*solvable).name = name.0;
            (*solvable).evr = evr.0;
            (*solvable).arch = arch.0;
            (*solvable).vendor = vendor.0;
        }
        self.add_dependency(SolvableId(id), List::Provides, itself);
        SolvableId(id)
    }

    /// Takes the solvable out of the pool again.
    pub(super) fn remove_solvable(&mut self, repository: RepositoryIndex, solvable: SolvableId) {
        let raw = self.repositories[repository.0].raw;
        // SAFETY: the solvable belongs to the repository, that to the pool; ids are not used again.
        unsafe { ffi::repo_free_solvable(raw, solvable.0, 0) }
    }

    /// Adds a dependency to one of the solvable's lists.
    pub(super) fn add_dependency(
        &mut self,
        solvable: SolvableId,
        list: List,
        dependency: StringId,
    ) {
        let (prerequisite, file) = (self.known.prerequisite_marker, self.known.file_marker);
        let solvable = self.solvable(solvable);
        // SAFETY: `solvable` is an element of the pool's table with a repository; `repo_addid_dep` moves
        // the repository's own array of ids only, never the table that `solvable` points into.
        unsafe {
            let (place, marker) = match list {
                List::Provides => (&raw mut (*solvable).provides, -file),
                List::Requires => (&raw mut (*solvable).requires, -prerequisite),
                List::RequiresBefore => (&raw mut (*solvable).requires, prerequisite),
                List::Conflicts => (&raw mut (*solvable).conflicts, 0),
                List::Obsoletes => (&raw mut (*solvable).obsoletes, 0),
                List::Recommends => (&raw mut (*solvable).recommends, 0),
                List::Suggests => (&raw mut (*solvable).suggests, 0),
                List::Supplements => (&raw mut (*solvable).supplements, 0),
                List::Enhances => (&raw mut (*solvable).enhances, 0),
            };
            *place = ffi::repo_addid_dep((*solvable).repo, *place, dependency.0, marker);
        }
    }

    /// Adds an absolute path to the solvable's file list. Only before [`Pool::internalise`].
    pub(super) fn add_file(
        &mut self,
        repository: RepositoryIndex,
        solvable: SolvableId,
        path: &str,
    ) {
        let Some((folder, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty())
        else {
            return;
        };
        let (folder, name) = (
            c_string(if folder.is_empty() { "/" } else { folder }),
            c_string(name),
        );
        let files = self.repositories[repository.0].files;
        // SAFETY: `files` is the repodata of that repository, still open for additions and the only one there is;
        // the strings are copied.
        unsafe {
            let folder = ffi::repodata_str2dir(files, folder.as_ptr(), 1);
            ffi::repodata_add_dirstr(
                files,
                solvable.0,
                self.known.file_list,
                folder,
                name.as_ptr(),
            );
        }
    }

    /// Ends the adding of files to a repository.
    pub(super) fn internalise(&mut self, repository: RepositoryIndex) {
        // SAFETY: the repository belongs to this pool.
        unsafe { ffi::repo_internalize(self.repositories[repository.0].raw) }
    }

    /// Computes who provides what. Again after every change, before anything is asked.
    pub(super) fn index(&mut self) {
        // SAFETY: the pool is alive; both may be called any number of times.
        unsafe {
            ffi::pool_addfileprovides(self.raw.as_ptr());
            ffi::pool_createwhatprovides(self.raw.as_ptr());
        }
    }

    /// Where an id stands in its table: the highest bit marks a relation.
    fn place(&self, id: StringId) -> Place {
        let index = (id.0.cast_unsigned() & 0x7fff_ffff) as usize;
        let [strings, relations] = [self.fields().ss.nstrings, self.fields().nrels]
            .map(|count| usize::try_from(count).unwrap_or_default());
        let relation = id.0 < 0;
        let count = if relation { relations } else { strings };
        assert!(index < count, "an id comes from its own pool");
        if relation {
            Place::Relation(index)
        } else {
            Place::Plain(index)
        }
    }

    fn solvable(&self, solvable: SolvableId) -> *mut ffi::Solvable {
        assert!(
            (2..self.fields().nsolvables).contains(&solvable.0),
            "a solvable's id comes from its own pool"
        );
        // SAFETY: checked to lie in the table.
        unsafe { self.fields().solvables.offset(solvable.0 as isize) }
    }
}

/// libsolv's constants are generated unsigned, its functions take `int`; none has the highest bit.
fn int(constant: u32) -> c_int {
    constant.cast_signed()
}

fn c_string(text: &str) -> CString {
    CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default()
}

/// # Safety
/// `text` must be null or a NUL-terminated string that stays until this returns.
unsafe fn copy(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .into_owned()
}
