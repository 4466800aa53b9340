//! The usual remedies, as <https://reproducible-builds.org/docs/> and RPM's own macros have them.

use super::{Cause, Format};

/// What usually mends `cause` in a `format`; empty where nothing needs to be mended there.
pub(super) fn remedy(cause: Cause, format: Format) -> &'static str {
    match cause {
        Cause::EmbeddedTime => time(format),
        Cause::TimeZone => zone(format),
        Cause::BuildPath => path(format),
        Cause::HostName => match format {
            Format::Header => "set `%_buildhost` to a fixed name",
            _ => {
                "do not write `hostname` or `uname -n` into files; set the program's own variable for it to a fixed name"
            }
        },
        Cause::User => match format {
            Format::Tar | Format::Ar => {
                "archive with fixed owners: `tar --owner=0 --group=0 --numeric-owner`, `ar D`"
            }
            Format::File | Format::Header => {
                "name the owner in `%files`: `%defattr(-,root,root)` or `%attr`"
            }
            _ => "do not write `$USER`, `whoami` or `$HOME` into files",
        },
        Cause::Locale => {
            "sort and format with `LC_ALL=C` (`LC_ALL=C sort`), and set it for the whole build in the spec"
        }
        Cause::DirectoryOrder => match format {
            Format::Tar => {
                "`tar --sort=name`, or `find … -print0 | LC_ALL=C sort -z | tar --null -T -`"
            }
            Format::Zip => {
                "`find … | LC_ALL=C sort | zip -X -@`, or `strip-nondeterminism` or `add-determinism` afterwards"
            }
            Format::Ar | Format::Elf | Format::Code => {
                "sort lists of objects before they are linked: `$(sort $(wildcard *.o))` in make"
            }
            _ => "sort what `readdir`, `find`, `glob` or `ls -U` list before it is used",
        },
        Cause::Parallelism => match format {
            Format::Text | Format::Bytes => {
                "let no two jobs write one file, sort what they collect, and do not write the number of processors into files; `%global _smp_mflags -j1` shows whether this is it"
            }
            _ => {
                "let results not depend on which job ends first: sort what they collect; `%global _smp_mflags -j1` shows whether this is it"
            }
        },
        Cause::Random => match format {
            Format::Elf | Format::Code => {
                "`-frandom-seed=` with a fixed text for gcc; initialise memory before it is written out"
            }
            Format::Python => "`PYTHONHASHSEED=0` where sets are compiled or dumped",
            _ => {
                "give the generator a fixed seed (`PYTHONHASHSEED=0`, `PERL_HASH_SEED=0`), make no UUIDs or temporary names part of files, initialise memory before it is written out"
            }
        },
        Cause::Umask => match format {
            Format::Tar => "`tar --mode=go=rX,u+rw,a-s`",
            Format::Zip => "`zip -X`, and `chmod` before archiving",
            _ => {
                "install with explicit modes (`install -m 0644`), or `%attr` and `%defattr` in `%files`"
            }
        },
        Cause::Kernel => {
            "do not write `uname -r` or `uname -v` into files: what is built must not depend on the kernel below"
        }
        Cause::Variable => {
            "unset or set the variable in the spec's `%build`, or do not write it into files"
        }
        Cause::Toolchain => {
            "build both from one lock; where the lock is the same, the environment was changed by hand"
        }
        Cause::EnvironmentDrift => {
            "compare the two environments: what differs there is what came in here"
        }
        Cause::Consequence => "",
        Cause::Unknown => {
            "find the variation with `pristine audit --bisect-variation`; `diffoscope` on the two files shows more of the bytes"
        }
    }
}

fn time(format: Format) -> &'static str {
    match format {
        Format::Header => {
            "`%use_source_date_epoch_as_buildtime 1` and `%source_date_epoch_from_changelog 1`"
        }
        Format::File => {
            "`%clamp_mtime_to_source_date_epoch 1`; with rpm 4.20 or newer `%build_mtime_policy clamp_to_source_date_epoch`"
        }
        Format::Gzip => "`gzip -n`; in Python `mtime=` of `gzip.GzipFile`",
        Format::Zip => {
            "set the members' times (`touch -d @$SOURCE_DATE_EPOCH`) and `zip -X`, `jar --date=`, Maven's `project.build.outputTimestamp`; or `strip-nondeterminism` or `add-determinism` afterwards"
        }
        Format::Ar => "`ar D` (`ARFLAGS=crD`), `ranlib -D`",
        Format::Tar => "`tar --mtime=@$SOURCE_DATE_EPOCH --clamp-mtime`",
        Format::Python => {
            "clamp the sources' times before they are compiled, or `py_compile` with `unchecked-hash`"
        }
        Format::Elf | Format::Code => {
            "no `__DATE__` and `__TIME__` (`-Wdate-time` finds them): gcc and clang take `SOURCE_DATE_EPOCH` for both"
        }
        Format::Image => {
            "`convert -define png:exclude-chunks=date,time`, or `add-determinism` afterwards"
        }
        Format::Text | Format::Bytes => {
            "take the time from `SOURCE_DATE_EPOCH` (`date -u -d @$SOURCE_DATE_EPOCH`), or leave it out"
        }
    }
}

fn zone(format: Format) -> &'static str {
    match format {
        Format::Zip => "zip archives have local time: `TZ=UTC` for the archiver",
        _ => "format times in UTC (`date -u`, `gmtime`), or set `TZ=UTC` in the spec",
    }
}

fn path(format: Format) -> &'static str {
    match format {
        Format::Elf | Format::Code | Format::Ar => {
            "`-ffile-prefix-map=$PWD=.` (`-fdebug-prefix-map`, `-fmacro-prefix-map`) in the compiler's flags; `--remap-path-prefix` for rustc, `-trimpath` for go"
        }
        Format::Python => {
            "compile with the path as installed: `%py_byte_compile`, or `compileall -s $RPM_BUILD_ROOT`"
        }
        _ => {
            "write paths relative to the source, or replace `$PWD` and `$RPM_BUILD_ROOT` before installing (`sed -i`)"
        }
    }
}
