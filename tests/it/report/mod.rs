//! Reports of runs, as a browser shows them and as CI servers read them.

mod audit;
mod browser;
mod junit;
mod pages;
#[path = "../../../src/report/sample.rs"]
mod sample;

use std::path::PathBuf;

use pristine::digest::Digest;
use pristine::documents::lock::{
    LockedDocument, LockedEnvironment, LockedInputs, LockedRpm, LockedTools, Origin,
};
use pristine::documents::{Architecture, Lock};
use pristine::record::Record;
use pristine::report;

/// A store's folder of runs, with what their reports are written from.
struct Runs {
    folder: tempfile::TempDir,
}

impl Runs {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn folder(&self) -> PathBuf {
        self.folder.path().join("runs")
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index.html")
    }

    /// Writes a run as a build does: logs, the record, then the reports.
    fn add(&self, mut record: Record, lock: &Lock) -> PathBuf {
        let folder = self.folder().join(&record.run);
        fs_err::create_dir_all(folder.join("logs")).unwrap();
        for log in record
            .packages
            .iter()
            .filter_map(|package| package.log.as_deref())
        {
            if log.starts_with("logs") {
                fs_err::write(folder.join(log), "configure\nmake\nthe last line\n").unwrap();
            }
        }
        record.lock = lock.digest();
        record.save(&folder).unwrap();
        report::write(&self.folder(), &folder, &record, lock).unwrap();
        folder
    }
}

/// A lock with these packages in the environment.
fn lock(packages: &[&str]) -> Lock {
    let rpm = |nevra: &&str| LockedRpm {
        nevra: nevra.parse().unwrap(),
        origin: Origin::Url("https://mirror.example/a.rpm".parse().unwrap()),
        size: 1000,
        digest: Digest::of(nevra.as_bytes()),
        key: None,
    };
    Lock {
        architecture: Architecture::X86_64,
        epoch: 1_700_000_000,
        inputs: LockedInputs {
            template: LockedDocument {
                name: "base".parse().unwrap(),
                digest: Digest::of(b"template"),
            },
            recipe: None,
            requests: Vec::new(),
            left_out: Vec::new(),
        },
        base: None,
        repositories: Vec::new(),
        keys: Vec::new(),
        packages: Vec::new(),
        tools: LockedTools::default(),
        environment: LockedEnvironment {
            tree: Some(Digest::of(b"tree")),
            rpms: packages.iter().map(rpm).collect(),
            replaced: Vec::new(),
        },
    }
}
