//! Figures, never verdicts: run by hand with `--ignored --nocapture`.

use std::process::Command as Process;
use std::time::Instant;

use pristine::backend::Command;

use super::fixture::{each, run};

fn median(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    (times[times.len() / 2], times[times.len() * 95 / 100])
}

#[test]
#[ignore = "a measurement: open, run `/bin/true`, destroy, beside `bwrap --unshare-all` on the same root"]
fn start_of_true() {
    each(|fixture| {
        let root = fixture.store_root().join("roots").join(&fixture.base.0);
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let command = Command::new(["/bin/true"]);
        for _ in 0..200 {
            let start = Instant::now();
            let mut clone = fixture.open();
            assert!(run(&mut *clone, &command).exit.success());
            clone.destroy().unwrap();
            ours.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            let status = Process::new("bwrap")
                .args(["--unshare-all", "--ro-bind"])
                .arg(&root)
                .args(["/", "--proc", "/proc", "--dev", "/dev", "/bin/true"])
                .status()
                .unwrap();
            theirs.push(start.elapsed().as_secs_f64() * 1e3);
            assert!(status.success());
        }
        let ((ours, ours95), (theirs, theirs95)) = (median(ours), median(theirs));
        eprintln!(
            "{}: median {ours:.2} (p95 {ours95:.2}) ms; bwrap {theirs:.2} (p95 {theirs95:.2}) ms; ratio {:.2}",
            fixture.name,
            ours / theirs
        );
    });
}
