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
        if fixture.name != "native" {
            return;
        }
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

#[test]
#[ignore = "a measurement: open, run `/bin/true`, destroy, beside `docker run` of the same image"]
fn start_of_true_in_an_engine() {
    each(|fixture| {
        if fixture.name != "docker" {
            return;
        }
        let engine = crate::support::engine::engine().unwrap();
        let command = Command::new(["/bin/true"]);
        let once = || {
            let mut clone = fixture.open();
            assert!(run(&mut *clone, &command).exit.success());
            clone.destroy().unwrap();
        };
        once();
        let image = engine.docker(&["images", "-q", "--filter", "label=io.pristine.store"]);
        let image = image.lines().next().unwrap().to_owned();
        let plain = [
            "run",
            "--rm",
            "--network=none",
            "--log-driver=none",
            &image,
            "/bin/true",
        ];
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            let start = Instant::now();
            once();
            ours.push(start.elapsed().as_secs_f64() * 1e3);
            let start = Instant::now();
            engine.docker(&plain);
            theirs.push(start.elapsed().as_secs_f64() * 1e3);
        }
        let ((ours, ours95), (theirs, theirs95)) = (median(ours), median(theirs));
        eprintln!(
            "docker: median {ours:.0} (p95 {ours95:.0}) ms; docker run {theirs:.0} (p95 {theirs95:.0}) ms; ratio {:.2}",
            ours / theirs
        );
    });
}
