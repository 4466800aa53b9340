//! Commands: how they start, what they see of their caller, how they end.

use pristine::backend::Exit;

use super::fixture::{each, run, shell};

#[test]
fn exit_codes_and_signals_arrive() {
    each(|fixture| {
        let mut clone = fixture.open();
        assert_eq!(run(&mut *clone, &shell("echo hello; exit 0")).text(), "hello");
        for code in [1, 42, 255] {
            assert_eq!(run(&mut *clone, &shell(&format!("exit {code}"))).exit, Exit::Code(code));
        }
        for signal in [9, 11, 15] {
            assert_eq!(run(&mut *clone, &shell(&format!("kill -{signal} $$"))).exit, Exit::Signal(signal));
        }
        clone.destroy().unwrap();
    });
}
