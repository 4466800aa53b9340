//! Where a repository's files are fetched from: its base URLs, or the mirrors out of its list.

use crate::documents::template::{Access, RepositorySource, Template};
use crate::documents::{Name, Url};
use crate::repository::{Metalink, Version, parse_mirrorlist};
use crate::resolve::repositories::{SMALL, in_repository, one, read_file};
use crate::resolve::{ResolveError, Supply};
use crate::store::fetch::Download;

/// Where a repository's files are fetched from.
#[derive(Debug, Clone, Default)]
pub struct Places {
    /// Absolute base URLs, through the project's mirrors, the preferred one first.
    pub bases: Vec<String>,
    /// The `repomd.xml` that a metalink promises; empty where there is none.
    pub versions: Vec<Version>,
}

/// The places of the repository `name`. A list of mirrors is fetched anew each time.
pub fn places(
    supply: Supply<'_>,
    template: &Template,
    (name, source): (&Name, &RepositorySource),
    access: &Access,
) -> Result<Places, ResolveError> {
    let project = supply.project;
    let absolute = |url: &Url| project.mirrored(&url.resolve(&project.directory));
    let (kind, url) = match source {
        RepositorySource::BaseUrls(urls) => {
            return Ok(Places {
                bases: urls.iter().flat_map(absolute).collect(),
                versions: Vec::new(),
            });
        }
        RepositorySource::Metalink(url) => ("metalink", url),
        RepositorySource::MirrorList(url) => ("mirror list", url),
    };
    let label = format!("{kind} of {name}");
    let file = one(
        supply,
        Download {
            name: label.clone(),
            urls: absolute(url),
            max_size: Some(SMALL),
            access: access.clone(),
            ..Download::default()
        },
    )?;
    let bytes = read_file(supply, &file)?;
    let from = file.url_used.unwrap_or_default();
    let failed = in_repository(name);
    let mut places = if matches!(source, RepositorySource::MirrorList(_)) {
        Places {
            bases: parse_mirrorlist(&bytes, &from, &label, |line| template.expand(line))
                .map_err(failed)?,
            versions: Vec::new(),
        }
    } else {
        let metalink = Metalink::parse(&bytes, &from, &label).map_err(failed)?;
        Places {
            bases: metalink.mirrors,
            versions: metalink.versions,
        }
    };
    places.bases = places
        .bases
        .iter()
        .flat_map(|base| project.mirrored(base))
        .collect();
    Ok(places)
}
