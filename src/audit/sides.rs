//! How both sides were built, as a comparison wants to know it.

use super::variations::{AHEAD, BEHIND, First, Second, usual};
use crate::backend::User;
use crate::build::conditions::{Conditions, LOCALE};
use crate::compare::{self, Span};
use crate::record::audit::Variation;

/// Both sides as a comparison wants to know them.
pub fn compared(
    first: &First,
    second: &Second,
    times: (Option<Span>, Option<Span>),
) -> compare::Conditions {
    let usual = usual(first);
    let user = first.user.unwrap_or(User::ROOT);
    let account = (first.account.clone(), user);
    let mut sides = compare::Conditions {
        first: side(&usual, &account, times.0),
        second: side(&second.conditions, &account, times.1),
    };
    sides.first.processors = u32::try_from(first.processors).ok();
    sides.first.kernel = vec![first.kernel.clone()];
    for one in &second.varied {
        let order = (Some(one.first.clone()), Some(one.second.clone()));
        match one.variation {
            Some(Variation::JobOrder) => (sides.first.job_order, sides.second.job_order) = order,
            Some(Variation::FileOrder) => {
                (sides.first.directory_order, sides.second.directory_order) = order;
            }
            Some(Variation::Time) => {
                sides.second.ahead = Some(second.conditions.surroundings.ahead);
            }
            Some(Variation::Kernel) => sides.second.kernel = vec![one.second.clone()],
            _ => {}
        }
    }
    if sides.second.kernel.is_empty() {
        sides.second.kernel.clone_from(&sides.first.kernel);
    }
    sides
}

fn side(conditions: &Conditions, usual: &(String, User), time: Option<Span>) -> compare::Side {
    let (name, user) = conditions.account.as_ref().unwrap_or(usual);
    let account = |id| compare::Account {
        name: name.clone(),
        id,
    };
    let zones = [BEHIND, AHEAD];
    let zone = zones.iter().find(|zone| zone.name == conditions.time_zone);
    compare::Side {
        time,
        time_zone: Some(conditions.time_zone.clone()),
        utc_offset: Some(zone.map_or(0, |zone| zone.offset)),
        host: Some(conditions.surroundings.host_name.clone()),
        paths: vec![conditions.home.clone()],
        user: Some(account(user.uid)),
        group: Some(account(user.gid)),
        locale: Some(
            conditions
                .locale
                .clone()
                .unwrap_or_else(|| LOCALE.to_owned()),
        ),
        processors: conditions
            .processors
            .and_then(|count| u32::try_from(count.get()).ok()),
        umask: Some(conditions.surroundings.umask),
        variables: conditions.variables.clone(),
        ..compare::Side::default()
    }
}
