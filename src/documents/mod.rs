//! The documents of a project: `pristine.toml`, templates, recipes, and the lock.
//!
//! Parsing is pure (`parse`), loading reads files (`load`). What comes out is valid: names
//! are names, digests are digests, nothing is named twice. Every complaint is a
//! `DocumentError` with file, line, column, the text, and what is allowed there; unknown
//! keys are refused. Every document has a `format`, and a newer one is refused.

pub mod config;
mod error;
pub mod lock;
pub mod recipe;
mod source;
pub mod template;
mod values;

pub use config::Project;
pub use error::{DocumentError, Problem};
pub use lock::Lock;
pub use recipe::Recipe;
pub use source::nearest;
pub use template::Template;
pub use values::{
    AbsolutePath, Architecture, ByteSize, Cores, Fingerprint, Glob, GroupName, ImageName, Line,
    MacroName, Mode, ModuleStream, Name, Owner, Period, RelativePath, Request, Url, ValueError,
    VariableName,
};
