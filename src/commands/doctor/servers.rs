//! Whether the servers that the project names can be reached.

use std::time::{Duration, SystemTime};

use super::Check;
use crate::commands::context::Context;
use crate::documents::config::Project;
use crate::documents::template::{Repository, RepositorySource};
use crate::documents::{Template, Url};
use crate::store::Store;

/// The longest that a server is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// One line for each address of each repository, and the times that the servers have.
pub(super) fn checks(
    context: &Context<'_>,
    project: &Project,
    store: &Store,
) -> (Vec<Check>, Vec<(String, SystemTime)>) {
    let Ok(template) = Template::load(&project.directory, &project.template) else {
        return (Vec::new(), Vec::new());
    };
    let (mut checks, mut dates) = (Vec::new(), Vec::new());
    let fetcher = context.fetcher(store);
    for repository in &template.repositories {
        let access = repository.access.below(&project.directory);
        let (addresses, any_will_do) = addresses(project, repository);
        let mut found = Vec::new();
        for address in addresses {
            let answer = match context.runtime() {
                Ok(runtime) => runtime.block_on(fetcher.probe(&address, &access, LIMIT)),
                Err(failure) => Err(failure.to_string()),
            };
            found.push((answer, address));
        }
        let reached = found.iter().any(|(answer, _)| answer.is_ok());
        for (answer, address) in found {
            let (result, bad) = match answer {
                Ok(answer) => {
                    dates.extend(answer.date.map(|date| (address.clone(), date)));
                    (format!("{address} answers"), false)
                }
                Err(why) => (
                    format!("{address} cannot be had: {why}"),
                    !(any_will_do && reached),
                ),
            };
            checks.push(Check {
                what: format!("repository {}", repository.name),
                result,
                remedy: bad.then(|| remedy(repository)),
            });
        }
    }
    (checks, dates)
}

fn remedy(repository: &Repository) -> String {
    if repository.skip_if_unavailable {
        return "it is left out while it cannot be reached (skip_if_unavailable)".to_owned();
    }
    "look at the network, the proxy (https_proxy) and the address in the template; [mirrors] in pristine.toml puts \
     another in its place"
        .to_owned()
}

/// What is asked for, and whether one that answers is enough.
fn addresses(project: &Project, repository: &Repository) -> (Vec<String>, bool) {
    let through = |url: &Url| project.mirrored(&url.resolve(&project.directory));
    match &repository.source {
        RepositorySource::BaseUrls(urls) => {
            let bases = urls.iter().flat_map(through);
            let files =
                bases.map(|base| format!("{}/repodata/repomd.xml", base.trim_end_matches('/')));
            (files.collect(), true)
        }
        RepositorySource::Metalink(url) | RepositorySource::MirrorList(url) => (through(url), true),
    }
}
