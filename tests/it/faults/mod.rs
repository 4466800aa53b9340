//! The tool is hurt at its system calls: killed, refused, cut short. The next command must make good of it.

#![expect(clippy::print_stdout, reason = "long forms say what they tried")]

mod errors;
mod host;
mod kills;
mod moments;
mod tracer;

/// So many points of each command are tried; more with `PRISTINE_FAULTS`.
fn points(few: u64) -> u64 {
    std::env::var("PRISTINE_FAULTS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(few)
}

/// So many places among the calls, evenly spread, off the beginning by half a step.
fn spread(points: u64, calls: u64) -> impl Iterator<Item = u64> {
    let points = points.min(calls);
    (0..points).map(move |point| 1 + (2 * point + 1) * calls / (2 * points))
}
