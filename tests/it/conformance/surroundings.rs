//! What commands see of the machine, where an audit wants it otherwise.

use std::collections::BTreeSet;
use std::num::NonZero;

use pristine::backend::{Mount, Pinned, User};

use super::fixture::{each, run, shell};

/// `statfs` tells it of tmpfs.
const TMPFS_MAGIC: i64 = 0x0102_1994;

#[test]
fn name_umask_processors_and_kernel_are_as_asked_for() {
    each(|fixture| {
        let script = "hostname; umask; nproc; uname -r";
        let usual = run(&mut *fixture.open(), &shell(script)).text().to_owned();
        let usual: Vec<&str> = usual.lines().collect();
        assert_eq!(usual[..2], ["pristine", "0022"]);
        let mut command = shell(script);
        let surroundings = &mut command.surroundings;
        surroundings.host_name = "elsewhere".to_owned();
        surroundings.umask = 0o027;
        surroundings.processors = NonZero::new(1).map(|count| Pinned { count, from: 3 });
        surroundings.old_kernel = true;
        let mut clone = fixture.open();
        let other = run(&mut *clone, &command).text().to_owned();
        let other: Vec<&str> = other.lines().collect();
        assert_eq!(other[..3], ["elsewhere", "0027", "1"]);
        assert!(other[3].starts_with("2.6."), "{other:?}");
        // It is the command's alone, and not the clone's.
        let again = run(&mut *clone, &shell(script)).text().to_owned();
        assert_eq!(again.lines().collect::<Vec<_>>(), usual);
    });
}

#[test]
fn a_folder_in_memory_lists_its_files_in_another_order_and_ends_with_its_command() {
    each(|fixture| {
        let script = "mkdir -p /work/folder; cd /work/folder; \
             for n in a b c d e f g h i j k l m n o p q r s t u v w x y z; do echo $n > $n.c; done; ls -U";
        let mut clone = fixture.open();
        let on_disk = run(&mut *clone, &shell(script)).text().to_owned();
        let mut command = shell(&script.replace("work", "memory"));
        command.user = User {
            uid: 1000,
            gid: 1000,
        };
        command.mounts = vec![Mount::Memory {
            target: "/memory".to_owned(),
            size: 1 << 20,
        }];
        let in_memory = run(&mut *clone, &command).text().to_owned();
        let set = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
        assert_eq!(set(&on_disk).len(), 26);
        assert_eq!(set(&on_disk), set(&in_memory));
        // Where the tests' own disk is memory, there is no other order to be had.
        let disk = rustix::fs::statfs(fixture.store_root()).unwrap();
        if fixture.name == "native" && disk.f_type != TMPFS_MAGIC {
            assert_ne!(on_disk, in_memory);
        }
        // What runs there is a program like any other, and no more fits than was said.
        command.argv = shell(
            "cd /memory; cp /bin/true tool && ./tool && echo runs; \
             head -c 2000000 /dev/zero > large 2>/dev/null || echo full",
        )
        .argv;
        assert_eq!(run(&mut *fixture.open(), &command).text(), "runs\nfull");
        let left = run(&mut *clone, &shell("ls -A /memory"));
        assert_eq!(left.text(), "");
        // Over a folder of somebody else, too.
        run(
            &mut *clone,
            &shell("mkdir -m 700 /hidden; echo x > /hidden/x"),
        );
        command.mounts = vec![Mount::Memory {
            target: "/hidden".to_owned(),
            size: 1 << 20,
        }];
        command.argv = shell("echo y > /hidden/y; ls /hidden; stat -c %a /hidden").argv;
        assert_eq!(run(&mut *clone, &command).text(), "y\n1777");
    });
}
