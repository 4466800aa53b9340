//! Commands: how they start, what they see of their caller, how they end.

use std::io::{Cursor, Read};

use pristine::backend::{Account, Command, Exit, Io, Stream, User};
use pristine::cancel::Cancel;

use super::fixture::{each, run, shell};

#[test]
fn exit_codes_and_signals_arrive() {
    each(|fixture| {
        let mut clone = fixture.open();
        assert_eq!(
            run(&mut *clone, &shell("echo hello; exit 0")).text(),
            "hello"
        );
        for code in [1, 42, 255] {
            assert_eq!(
                run(&mut *clone, &shell(&format!("exit {code}"))).exit,
                Exit::Code(code)
            );
        }
        for signal in [9, 11, 15] {
            assert_eq!(
                run(&mut *clone, &shell(&format!("kill -{signal} $$"))).exit,
                Exit::Signal(signal)
            );
        }
        clone.destroy().unwrap();
    });
}

#[test]
fn a_program_that_cannot_run_is_told_as_a_shell_would() {
    each(|fixture| {
        let mut clone = fixture.open();
        for (program, code, message) in [
            ("/bin/nothing", 127, "cannot run `/bin/nothing`: not found"),
            ("nothing", 127, "cannot run `nothing`: not found"),
            (
                "/etc/passwd",
                126,
                "cannot run `/etc/passwd`: Permission denied",
            ),
            ("/bin", 126, "cannot run `/bin`: Permission denied"),
        ] {
            let ran = run(&mut *clone, &Command::new([program]));
            assert_eq!(
                (ran.exit.clone(), ran.err.contains(message)),
                (Exit::Code(code), true),
                "{ran:?}"
            );
        }
        let mut command = Command::new(["/bin/true"]);
        command.cwd = "/no/such/place".to_owned();
        assert_eq!(run(&mut *clone, &command).exit, Exit::Code(126));
    });
}

#[test]
fn output_keeps_its_order_and_any_amount_passes() {
    each(|fixture| {
        let mut clone = fixture.open();
        let ran = run(
            &mut *clone,
            &shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done"),
        );
        assert_eq!(
            (ran.text(), ran.err.as_str()),
            ("out 1\nout 2\nout 3", "err 1\nerr 2\nerr 3\n")
        );
        let ran = run(
            &mut *clone,
            &shell("seq 1 1000000 & seq 1 1000000 >&2; wait"),
        );
        assert_eq!((ran.text().len(), ran.err.len()), (6_888_895, 6_888_896));
        assert!(ran.out.ends_with("\n999999\n1000000\n"));
    });
}

/// Runs a command with input; gives the exit and the output.
fn with_input(
    clone: &mut dyn pristine::backend::Clone,
    script: &str,
    input: &mut (dyn Read + Send),
) -> (Exit, Vec<u8>) {
    let mut out = Vec::new();
    let mut output = |stream, bytes: &[u8]| {
        if stream == Stream::Out {
            out.extend_from_slice(bytes);
        }
    };
    let exit = clone
        .run(
            &shell(script),
            Io {
                stdin: Some(input),
                output: &mut output,
                cancel: &Cancel::new().unwrap(),
            },
        )
        .unwrap();
    (exit, out)
}

#[test]
fn input_is_fed_and_then_ends() {
    each(|fixture| {
        let mut clone = fixture.open();
        assert_eq!(
            with_input(&mut *clone, "cat", &mut Cursor::new(b"some input")).1,
            b"some input"
        );
        assert_eq!(with_input(&mut *clone, "cat", &mut std::io::empty()).1, b"");
        let large = b"0123456789abcdef".repeat(1 << 18);
        assert!(
            with_input(&mut *clone, "cat", &mut Cursor::new(&large)).1 == large,
            "4 MiB in both directions"
        );
        // Podman may close the connection with output still in it, which is an error and no verdict.
        if fixture.name != "podman" {
            let (exit, out) =
                with_input(&mut *clone, "head -c 4; exit 3", &mut std::io::repeat(b'x'));
            assert_eq!(
                (exit, out.as_slice()),
                (Exit::Code(3), b"xxxx".as_slice()),
                "input without end that nobody reads"
            );
        }
        assert_eq!(
            run(&mut *clone, &shell("cat; readlink /proc/self/fd/0")).text(),
            "/dev/null"
        );
    });
}

#[test]
fn environment_folder_and_user_are_what_was_asked() {
    each(|fixture| {
        let mut clone = fixture.open();
        let mut command = Command::new(["env"]);
        command.env = [
            ("PATH".to_owned(), "/nowhere:/bin".to_owned()),
            ("ONE".to_owned(), "a=b c\n".to_owned()),
        ]
        .into();
        let lines = "ONE=a=b c\n\nPATH=/nowhere:/bin\n";
        assert_eq!(
            run(&mut *clone, &command).out,
            lines,
            "nothing is inherited"
        );
        let mut command = shell("pwd; id -u; id -g; id -G; umask; ulimit -c");
        command.cwd = "/home".to_owned();
        assert_eq!(run(&mut *clone, &command).text(), "/home\n0\n0\n0\n0022\n0");
        command.user = User {
            uid: 1000,
            gid: 1001,
        };
        assert_eq!(
            run(&mut *clone, &command).text(),
            "/home\n1000\n1001\n1001\n0022\n0"
        );
        command.user = User {
            uid: 65_535,
            gid: 65_535,
        };
        assert_eq!(
            run(&mut *clone, &command).text(),
            "/home\n65535\n65535\n65535\n0022\n0"
        );
    });
}

#[test]
fn an_account_is_there_when_the_command_starts() {
    each(|fixture| {
        let mut clone = fixture.open();
        let before = run(&mut *clone, &shell("cat /etc/passwd"))
            .text()
            .to_owned();
        let user = User {
            uid: 1234,
            gid: 1235,
        };
        let account = Account {
            name: "maker".to_owned(),
            user,
            home: "/srv/maker".to_owned(),
        };
        let mut command = shell(
            "cat /etc/passwd; while read -r line; do case $line in maker:*) echo $line;; esac; done < /etc/group; \
             stat -c '%u:%g %a' /srv/maker && touch /srv/maker/own",
        );
        command.account = Some(account);
        command.user = user;
        let after = format!(
            "{before}\nmaker:x:1234:1235::/srv/maker:/bin/sh\nmaker:x:1235:\n1234:1235 755"
        );
        for round in ["made", "found"] {
            assert_eq!(run(&mut *clone, &command).text(), after, "{round}");
        }
        assert_eq!(
            fixture.script("ls /srv 2>&1 | wc -l").text(),
            "1",
            "the root stays as it was"
        );
    });
}

#[test]
fn root_inside_owns_everything_and_others_do_not() {
    each(|fixture| {
        let mut clone = fixture.open();
        let script = "set -e; cd /tmp; touch a; chown 1000:65535 a; chmod 4755 a; mkdir d; chown 12:34 d; stat -c '%u:%g %a %n' a d /; \
                      mknod pipe p; stat -c %F pipe";
        assert_eq!(
            run(&mut *clone, &shell(script)).text(),
            "1000:65535 4755 a\n12:34 755 d\n0:0 755 /\nfifo"
        );
        let mut command = shell(
            "touch /bin/x; chown 0 /tmp/a; echo x > /etc/passwd; mkdir /tmp/own && stat -c %u /tmp/own",
        );
        command.user = User {
            uid: 1000,
            gid: 1000,
        };
        let ran = run(&mut *clone, &command);
        assert_eq!(ran.text(), "1000");
        assert_eq!(
            ran.err.matches("ermission denied").count() + ran.err.matches("not permitted").count(),
            3,
            "{}",
            ran.err
        );
    });
}

#[test]
fn commands_in_one_clone_see_what_earlier_ones_wrote() {
    each(|fixture| {
        let mut clone = fixture.open();
        for round in 1..=5 {
            assert_eq!(
                run(&mut *clone, &shell("echo x >> /tmp/log; wc -l < /tmp/log")).text(),
                round.to_string()
            );
        }
    });
}

#[test]
fn sync_can_be_skipped() {
    each(|fixture| {
        let mut command = shell(
            "dd if=/dev/zero of=/tmp/x bs=4096 count=4 conv=fsync && sync && sync /tmp/x && echo done",
        );
        for skip in [false, true] {
            command.skip_sync = skip;
            assert_eq!(run(&mut *fixture.open(), &command).text(), "done");
        }
    });
}
