//! What a command must not see or reach.

use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Instant;

use pristine::backend::{Capabilities, Mount, User};

use super::fixture::{HANGS, each, run, shell};
use super::outside::Planted;
use super::{probe, skip};

#[test]
fn only_its_own_processes_exist() {
    each(|fixture| {
        let ran =
            fixture.script("cd /proc; set -- [0-9]*; [ \"$*\" = \"1 $$\" ] && echo alone; readlink /proc/1/exe || echo hidden");
        assert_eq!(ran.text(), "alone\nhidden");
    });
}

#[test]
fn only_its_own_files_exist() {
    each(|fixture| {
        assert_eq!(fixture.script("echo /sys/* /run/*").text(), "/sys/* /run/*");
        let lines = fixture.script("echo /*; echo /dev/*; while read -r _ _ _ root point rest; do echo $point; done < /proc/self/mountinfo");
        let mut lines = lines.text().lines();
        assert_eq!(
            lines
                .next()
                .unwrap()
                .replace("/lib64 ", "")
                .replace("/lib ", "")
                // Engines always make these; nothing may be seen in them.
                .replace("/sys ", "")
                .replace("/run ", ""),
            "/bin /dev /etc /home /proc /root /tmp /usr"
        );
        assert_eq!(
            lines.next().unwrap().replace("/dev/mqueue ", ""),
            "/dev/fd /dev/full /dev/null /dev/ptmx /dev/pts /dev/random /dev/shm /dev/stderr /dev/stdin /dev/stdout /dev/tty /dev/urandom /dev/zero"
        );
        let foreign: Vec<_> = lines
            .filter(|point| {
                let own = ["/dev", "/proc", "/sys"];
                // Engines bring files of their own for these names.
                let named = [
                    "/etc/hosts",
                    "/etc/hostname",
                    "/etc/resolv.conf",
                    "/run/.containerenv",
                ];
                *point != "/"
                    && !own.iter().any(|place| point.starts_with(place))
                    && (fixture.name == "native" || !named.contains(point))
            })
            .collect();
        assert_eq!(foreign, Vec::<&str>::new());
        assert_eq!(fixture.script("hostname; stat -c %t:%T /dev/null /dev/zero; echo x > /dev/null; head -c 3 /dev/urandom | wc -c").text(), "pristine\n1:3\n1:5\n3");
    });
}

#[test]
fn only_the_standard_streams_are_open() {
    // Not closed over `exec`: the test's own program would leak it.
    let leak =
        rustix::fs::open("/", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
    each(|fixture| {
        assert_eq!(
            fixture.script("cd /proc/self/fd; echo *").text(),
            "0 1 2 3",
            "3 is the shell's own handle on the folder"
        );
        let ran = fixture.script("ls -l /proc/1/fd 2>&1 | head -1");
        assert!(ran.out.contains("ermission denied"), "{ran:?}");
    });
    drop(leak);
}

#[test]
fn no_network_but_loopback() {
    each(|fixture| {
        assert_eq!(fixture.script("while read -r name rest; do case $name in *:) echo $name;; esac; done < /proc/net/dev").text(), "lo:");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let connect = format!(
            "(exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null && echo reached || echo refused"
        );
        assert_eq!(
            fixture.script(&connect).text(),
            "refused",
            "loopback is up and is not the host's"
        );
        let Capabilities { network, .. } = *fixture.backend.capabilities();
        if network {
            let mut command = shell(&connect);
            command.network = true;
            assert_eq!(run(&mut *fixture.open(), &command).text(), "reached");
        } else {
            skip("this backend has no network to give");
        }
    });
}

#[test]
fn known_doors_are_closed() {
    let name = format!("pristine-probe-{}", std::process::id());
    let _listener =
        UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
    let _planted = Planted::new(&name);
    let host = probe::all(&name);
    assert!(
        host.iter().filter(|(_, open)| *open).count() > 5,
        "the probes find what is open on the host: {host:?}"
    );
    let there = host
        .iter()
        .filter(|(what, _)| what.starts_with("the host's"));
    assert!(
        there.clone().all(|(_, open)| *open),
        "what was planted is found on the host: {host:?}"
    );
    each(|fixture| {
        for user in [
            User::ROOT,
            User {
                uid: 1000,
                gid: 1000,
            },
        ] {
            let mut command = probe::command(&name);
            command.user = user;
            let ran = run(&mut *fixture.open(), &command);
            let results: Vec<_> = ran
                .out
                .lines()
                .filter_map(|line| line.strip_prefix("probe "))
                .collect();
            assert_eq!(results.len(), host.len(), "{ran:?}");
            let open: Vec<_> = results
                .iter()
                .filter(|line| !line.ends_with(" closed"))
                .collect();
            assert_eq!(open, Vec::<&&str>::new(), "as {user:?}");
        }
    });
}

#[test]
fn device_nodes_cannot_be_made() {
    each(|fixture| {
        let script = "cd /tmp; mknod null c 1 3 || echo refused; mknod loop b 7 0 || echo refused; mknod pipe p; ls";
        assert_eq!(fixture.script(script).text(), "refused\nrefused\npipe");
    });
}

#[test]
fn programs_with_set_id_bits_give_nobody_anything() {
    each(|fixture| {
        let mut clone = fixture.open();
        let plant = shell("cp /bin/id /tmp/id && chmod 6755 /tmp/id && stat -c %a /tmp/id");
        assert_eq!(run(&mut *clone, &plant).text(), "6755");
        let mut command = shell("/tmp/id -u; /tmp/id -g");
        command.user = User {
            uid: 1000,
            gid: 1000,
        };
        assert_eq!(run(&mut *clone, &command).text(), "1000\n1000");
    });
}

#[test]
fn the_kernel_cannot_be_configured() {
    each(|fixture| {
        let script = "for f in kernel/core_pattern kernel/hostname kernel/modprobe vm/drop_caches net/ipv4/ip_forward; do \
                      (echo x > /proc/sys/$f) 2>/dev/null && echo written $f; done; \
                      (echo b > /proc/sysrq-trigger); for f in kcore keys timer_list kallsyms; do [ -e /proc/$f ] && wc -c < /proc/$f; done; true";
        let ran = fixture.script(script);
        assert!(ran.text().lines().all(|line| line == "0"), "{ran:?}");
        let status = fixture.script("while read -r key value; do case $key in NoNewPrivs:|Seccomp:|CapEff:|CapBnd:) echo $key $value;; esac; done < /proc/self/status");
        assert_eq!(
            status.text(),
            "CapEff: 00000000a00405fb\nCapBnd: 00000000a00405fb\nNoNewPrivs: 1\nSeccomp: 2"
        );
    });
}

#[test]
fn the_host_s_mounts_stay_as_they_are() {
    // An engine mounts in its own folder, which the tests know, and nowhere else.
    let mounts = || {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let lines = text.lines().map(str::to_owned);
        lines
            .filter(|line| !line.contains("/pristine-engine-"))
            .collect::<Vec<_>>()
    };
    let before = mounts();
    each(|fixture| {
        let mut clone = fixture.open();
        let mut command = shell("while read -r l; do :; done < /proc/self/mountinfo");
        command.mounts = vec![Mount::Host {
            source: "/etc".into(),
            target: "/mnt/etc".to_owned(),
        }];
        assert!(run(&mut *clone, &command).exit.success());
        clone.destroy().unwrap();
    });
    assert_eq!(before, mounts());
}

#[test]
fn identities_inside_are_nobody_outside() {
    each(|fixture| {
        let map = fixture.script("while read -r inside outside rest; do echo $inside $outside; done < /proc/self/uid_map");
        if !fixture.backend.capabilities().own_ids {
            assert_eq!(
                map.text(),
                "0 0",
                "what a backend does not promise, it does not do"
            );
            return;
        }
        let map = fixture.script(
            "while read -r inside outside count; do echo $inside $count; done < /proc/self/uid_map",
        );
        assert_eq!(
            map.text(),
            "0 65536",
            "one range, and nothing of the caller's"
        );
        let mut command = shell("sleep 60");
        command.limits.time = Some(std::time::Duration::from_secs(1));
        command.argv = vec!["/bin/sleep".to_owned(), "61.5".to_owned()];
        let watcher = std::thread::spawn(|| owner_of("61.5"));
        run(&mut *fixture.open(), &command);
        let owner = watcher.join().unwrap();
        assert!(owner >= 65_536, "host uid {owner}");
    });
}

/// The host uid of the process that has `argument` in its command line; waits until there is one.
fn owner_of(argument: &str) -> u32 {
    use std::os::unix::fs::MetadataExt as _;
    let end = Instant::now() + HANGS;
    loop {
        assert!(Instant::now() < end, "there is no `sleep {argument}`");
        for entry in std::fs::read_dir("/proc").unwrap().flatten() {
            let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            if line == format!("/bin/sleep\0{argument}\0").as_bytes() {
                return std::fs::metadata(entry.path()).unwrap().uid();
            }
        }
        std::thread::yield_now();
    }
}
