//! The system calls that no build needs and that have opened sandboxes before.
//!
//! A list of what is refused, not of what is allowed: builds run compilers and test
//! suites of every kind. Namespaces and missing capabilities are the wall; this takes
//! away the kernel's less tested doors. Calls fail with an error that programs know how
//! to live with; only foreign architectures (i386, x32) end the process.

use std::collections::BTreeMap;
use std::io;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Is,
    SeccompCondition as Condition, SeccompFilter, SeccompRule, apply_filter, sock_filter,
};

/// Refused with `EPERM`, whatever their arguments.
const REFUSED: &[libc::c_long] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_bpf,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pivot_root,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ustat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS__sysctl,
];

/// Return success at once under `skip_sync`.
const SYNC: &[libc::c_long] = &[
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_msync,
];

/// Socket families that exist inside; others fail with `EAFNOSUPPORT`.
const FAMILIES: &[i32] = &[
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
];

/// The compiled filters.
#[derive(Clone)]
pub(in crate::backend) struct Filters {
    always: Vec<BpfProgram>,
    sync: BpfProgram,
}

impl Filters {
    /// Compiles them for this machine.
    pub(in crate::backend) fn compile() -> io::Result<Self> {
        let always = vec![
            foreign_numbers(),
            compile(refused()?, error(libc::EPERM))?,
            compile(
                BTreeMap::from([(libc::SYS_clone3, vec![])]),
                error(libc::ENOSYS),
            )?,
            compile(sockets()?, error(libc::EAFNOSUPPORT))?,
        ];
        Ok(Self {
            always,
            sync: compile(
                SYNC.iter().map(|number| (*number, vec![])).collect(),
                error(0),
            )?,
        })
    }

    /// Applies them to this process for good; also sets `no_new_privs`.
    pub(in crate::backend) fn apply(&self, skip_sync: bool) -> io::Result<()> {
        let sync = skip_sync.then_some(&self.sync);
        self.always
            .iter()
            .chain(sync)
            .try_for_each(|program| apply_filter(program).map_err(io::Error::other))
    }
}

/// Stops what asks for the calendar's time, or waits for a time of it, for whoever follows (`clock.rs`).
#[cfg(target_arch = "x86_64")]
pub(super) fn time() -> io::Result<BpfProgram> {
    const LOCK_PI: u64 = 6;
    const COMMAND: u64 = 0x7f;
    let number = |value: i32| u64::from(value.cast_unsigned());
    let calendars = [
        libc::CLOCK_REALTIME,
        libc::CLOCK_REALTIME_COARSE,
        libc::CLOCK_REALTIME_ALARM,
        libc::CLOCK_TAI,
    ];
    let calendar = |clock| condition(0, Length::Dword, Is::Eq, number(clock));
    let absolute = |argument, bits| condition(argument, Length::Dword, Is::MaskedEq(bits), bits);
    let until = number(libc::TIMER_ABSTIME);
    let sleeps = |clock| rule(vec![calendar(clock)?, absolute(1, until)?]);
    let reads = |clock| rule(vec![calendar(clock)?]);
    // Those that wait for ever have no time.
    let ends = || condition(3, Length::Qword, Is::Ne, 0);
    let pi = condition(1, Length::Dword, Is::MaskedEq(COMMAND), LOCK_PI)?;
    let rules = BTreeMap::from([
        (libc::SYS_gettimeofday, vec![]),
        (libc::SYS_time, vec![]),
        (
            libc::SYS_clock_gettime,
            calendars
                .map(reads)
                .into_iter()
                .collect::<io::Result<_>>()?,
        ),
        (
            libc::SYS_clock_nanosleep,
            calendars
                .map(sleeps)
                .into_iter()
                .collect::<io::Result<_>>()?,
        ),
        (
            libc::SYS_futex,
            vec![
                rule(vec![
                    absolute(1, number(libc::FUTEX_CLOCK_REALTIME))?,
                    ends()?,
                ])?,
                rule(vec![pi, ends()?])?,
            ],
        ),
    ]);
    compile(rules, SeccompAction::Trace(0))
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn compile(rules: Rules, action: SeccompAction) -> io::Result<BpfProgram> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(io::Error::other)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, architecture);
    filter.and_then(TryInto::try_into).map_err(io::Error::other)
}

fn error(errno: i32) -> SeccompAction {
    SeccompAction::Errno(errno.cast_unsigned())
}

fn condition(argument: u8, length: Length, is: Is, value: u64) -> io::Result<Condition> {
    Condition::new(argument, length, is, value).map_err(io::Error::other)
}

fn rule(conditions: Vec<Condition>) -> io::Result<SeccompRule> {
    SeccompRule::new(conditions).map_err(io::Error::other)
}

fn refused() -> io::Result<Rules> {
    let mut rules: Rules = REFUSED.iter().map(|number| (*number, vec![])).collect();
    let nested = u64::from(libc::CLONE_NEWUSER.cast_unsigned());
    for number in [libc::SYS_clone, libc::SYS_unshare] {
        rules.insert(
            number,
            vec![rule(vec![condition(
                0,
                Length::Dword,
                Is::MaskedEq(nested),
                nested,
            )?])?],
        );
    }
    // The kernel reads 32 bits of the request: comparing 64 would let a request with high bits set pass.
    let pushes = [libc::TIOCSTI, libc::TIOCLINUX];
    let pushes = pushes.map(|request| {
        condition(1, Length::Dword, Is::Eq, request).and_then(|condition| rule(vec![condition]))
    });
    rules.insert(
        libc::SYS_ioctl,
        pushes.into_iter().collect::<io::Result<_>>()?,
    );
    Ok(rules)
}

fn sockets() -> io::Result<Rules> {
    let number = |value: i32| u64::from(value.cast_unsigned());
    let unknown = FAMILIES
        .iter()
        .map(|family| condition(0, Length::Dword, Is::Ne, number(*family)));
    let netlink = vec![
        condition(0, Length::Dword, Is::Eq, number(libc::AF_NETLINK))?,
        condition(2, Length::Dword, Is::Ne, number(libc::NETLINK_ROUTE))?,
    ];
    let rules = vec![rule(unknown.collect::<io::Result<_>>()?)?, rule(netlink)?];
    Ok(BTreeMap::from([
        (libc::SYS_socket, rules.clone()),
        (libc::SYS_socketpair, rules),
    ]))
}

/// x32 calls share the x86-64 architecture value and differ by a bit in their number, which rules by number do not see.
fn foreign_numbers() -> BpfProgram {
    const X32: u32 = 0x4000_0000;
    // The kernel's opcodes are 16 bits wide; the constants are too small to lose any.
    let code = |bits: u32| u16::try_from(bits).unwrap_or_default();
    let load = code(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS);
    let at_least = code(libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K);
    let answer = code(libc::BPF_RET | libc::BPF_K);
    vec![
        sock_filter {
            code: load,
            jt: 0,
            jf: 0,
            k: 0,
        },
        sock_filter {
            code: at_least,
            jt: 0,
            jf: 1,
            k: X32,
        },
        sock_filter {
            code: answer,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_KILL_PROCESS,
        },
        sock_filter {
            code: answer,
            jt: 0,
            jf: 0,
            k: libc::SECCOMP_RET_ALLOW,
        },
    ]
}
