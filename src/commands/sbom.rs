//! `pristine sbom`: bills of materials of a run's environment and of each of its packages.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::cli::SbomArgs;
use crate::commands::context::Context;
use crate::commands::kept;
use crate::documents::lock::{LockedRpm, Origin};
use crate::documents::{Lock, Project};
use crate::error::{Failure, Kind};
use crate::events::{Event, Sink as _};
use crate::files;
use crate::record::{FileRecord, Record};
use crate::rpm::read_details;
use crate::statement::sbom::{self, Bill, BillFormat, Item};
use crate::statement::{self, url};
use crate::store::Store;

/// The folder of a run's bills.
const FOLDER: &str = "sbom";

pub(super) fn run(context: &Context<'_>, args: &SbomArgs) -> Result<u8, Failure> {
    let (folder, record) = kept::run(context, &args.run)?;
    let lock = Lock::load(&folder)?;
    let store = Project::load(&context.folder).ok();
    let store = store.and_then(|project| context.store(&project).ok());
    let installed = installed(context, &lock, store.as_ref())?;
    let tool = (record.project.as_str(), record.tool.as_str());
    let place = (record.environment, lock.epoch);
    let environment = sbom::environment(tool, place, installed.clone());
    let output = args.output.clone().unwrap_or_else(|| folder.join(FOLDER));
    let failed = |error| Failure::new(Kind::CannotRun, error);
    fs_err::create_dir_all(&output).map_err(failed)?;
    let mut written = Vec::new();
    save(&output, "environment", &environment, args, &mut written)?;
    let own = own(&folder, &record)?;
    for (name, bill) in packages(&record, &environment, &installed, &own) {
        save(&output, &name, &bill, args, &mut written)?;
    }
    context.ui.result(&written.join("\n"));
    Ok(0)
}

/// The environment's packages; those of a base, of which only the names are known, too.
fn installed(
    context: &Context<'_>,
    lock: &Lock,
    store: Option<&Store>,
) -> Result<Vec<Item>, Failure> {
    let mut items = Vec::new();
    let mut unread = 0;
    for rpm in &lock.environment.rpms {
        let path = store.and_then(|store| store.blob(&rpm.digest));
        let details = path.map(|path: PathBuf| read_details(&path)).transpose();
        let details = details.map_err(|error| Failure::new(Kind::CannotRun, error))?;
        unread += usize::from(details.is_none());
        items.push(Item::Rpm {
            nevra: rpm.nevra.clone(),
            details: details.map(Arc::new),
            digest: Some(rpm.digest),
            url: address(lock, rpm),
        });
    }
    let base = lock.base.iter().flat_map(|base| &base.installed);
    let base = base.filter(|rpm| !lock.environment.replaced.contains(&rpm.nevra));
    items.extend(base.map(|rpm| Item::Rpm {
        nevra: rpm.nevra.clone(),
        details: None,
        digest: None,
        url: None,
    }));
    if unread > 0 {
        let text = format!(
            "{unread} packages of the environment are not in the store: their licences and what they require are missing in the bills"
        );
        context.ui.emit(Event::Warning { text });
    }
    Ok(items)
}

/// Where a package can be had, where that is an address for others.
fn address(lock: &Lock, rpm: &LockedRpm) -> Option<String> {
    let address = match &rpm.origin {
        Origin::Url(url) => url.to_string(),
        Origin::Repository { name, location } => url(lock, name, location)?,
    };
    address.contains("://").then_some(address)
}

/// The packages that the run made, as they lie in its folder, by the package of the project.
fn own(folder: &Path, record: &Record) -> Result<Vec<(String, Item)>, Failure> {
    let mut items = Vec::new();
    for package in &record.packages {
        for output in &package.outputs {
            items.push((package.name.clone(), item(folder, output)?));
        }
    }
    Ok(items)
}

fn item(folder: &Path, output: &FileRecord) -> Result<Item, Failure> {
    let path = statement::output(folder, output)?;
    let details = read_details(&path);
    let details = details.map_err(|error| Failure::new(Kind::CannotRun, error))?;
    Ok(Item::Rpm {
        nevra: details.facts.nevra.clone(),
        details: Some(Arc::new(details)),
        digest: Some(output.sha256),
        url: None,
    })
}

/// A bill for each package of the run, with the name of its file.
fn packages<'a>(
    record: &'a Record,
    environment: &'a Bill,
    installed: &'a [Item],
    own: &'a [(String, Item)],
) -> impl Iterator<Item = (String, Bill)> + 'a {
    own.iter().map(move |(name, subject)| {
        let source = own
            .iter()
            .find(|(other, item)| other == name && is_source(item) && item != subject);
        let source = source.map(|(_, item)| item.clone());
        let binaries = own.iter().map(|(_, item)| item);
        let binaries = binaries.filter(|item| !is_source(item) && *item != subject);
        let others = binaries.chain(installed).cloned().collect();
        let place = environment.items[0].clone();
        let bill = sbom::package(&record.tool, subject.clone(), source, place, others);
        (file_name(subject), bill)
    })
}

fn is_source(item: &Item) -> bool {
    matches!(item, Item::Rpm { nevra, .. } if matches!(nevra.arch.as_str(), "src" | "nosrc"))
}

fn file_name(item: &Item) -> String {
    match item {
        Item::Rpm { nevra, .. } => nevra.file_name(),
        Item::Environment { .. } => "environment".to_owned(),
    }
}

fn save(
    output: &Path,
    name: &str,
    bill: &Bill,
    args: &SbomArgs,
    written: &mut Vec<String>,
) -> Result<(), Failure> {
    let formats = if args.format.is_empty() {
        &BillFormat::ALL[..]
    } else {
        &args.format
    };
    for format in formats {
        let path = output.join(format!("{name}.{}", format.suffix()));
        let text = format.write(bill);
        let text = text.map_err(|error| Failure::new(Kind::CannotRun, error))?;
        let failed = |error| Failure::new(Kind::CannotRun, error);
        files::write_atomic(&path, text.as_bytes()).map_err(failed)?;
        written.push(path.display().to_string());
    }
    Ok(())
}
