//! Whether a server answers, and which time it has: for `pristine doctor`. Nothing is kept.

use std::time::{Duration, SystemTime};

use reqwest::header::DATE;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;
use tokio::time::timeout;

use super::{Fetcher, local};
use crate::documents::template::Access;

/// An address that answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// The time that the server says it is; none of a file, and where it does not say it.
    pub date: Option<SystemTime>,
}

impl Fetcher {
    /// Asks for a file and reads nothing of it; the error says why there is none.
    pub async fn probe(
        &self,
        url: &str,
        access: &Access,
        limit: Duration,
    ) -> Result<Answer, String> {
        if let Some(path) = local::path(url) {
            let found = tokio::fs::metadata(&path).await;
            return match found {
                Ok(_) => Ok(Answer { date: None }),
                Err(error) => Err(error.to_string()),
            };
        }
        let http = self.http(access).map_err(|error| error.to_string())?;
        let response = match timeout(limit, http.get(url).send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(self.refusal(&http, url, &error).reason),
            Err(_elapsed) => return Err(format!("no answer in {} s", limit.as_secs())),
        };
        if !response.status().is_success() {
            return Err(format!("it answers {}", response.status()));
        }
        let date = response
            .headers()
            .get(DATE)
            .and_then(|date| date.to_str().ok());
        let date = date.and_then(|date| OffsetDateTime::parse(date, &Rfc2822).ok());
        Ok(Answer {
            date: date.map(SystemTime::from),
        })
    }
}
