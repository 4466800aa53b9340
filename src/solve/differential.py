"""Solves the jobs on standard input with dnf's own Python interface, one line each.

A job is a list of specs separated by tabs: what `dnf install` takes, or `=` and a dependency as
`dnf builddep` reads it. Answers one line per job: the packages, sorted, or FAIL.

With the root of another system in PRISTINE_DNF_ROOT its dnf is asked, in a sandbox; where it has dnf5, that.
"""

import importlib.metadata
import logging
import os
import sys

url, root, arch = sys.argv[1:]
peer = os.environ.get("PRISTINE_DNF_ROOT")
if peer:
    repository = url.removeprefix("file://")
    system = [word for name in ("usr", "etc") for word in ("--ro-bind", f"{peer}/{name}", f"/{name}")]
    links = [word for name in ("bin", "lib", "lib64") for word in ("--symlink", f"usr/{name}", f"/{name}")]
    os.execvp("bwrap", [
        "bwrap", *system, *links, "--proc", "/proc", "--dev", "/dev", "--dir", "/tmp", "--dir", "/var", "--ro-bind", repository, repository,
        "--bind", root, root, "--clearenv", "--setenv", "ANSWERING", "1", "/usr/bin/python3", *sys.orig_argv[1:],
    ])


class Dnf4:
    def __init__(self):
        self.base = base = dnf.Base()
        conf = base.conf
        conf.installroot = root
        conf.cachedir = root + "/cache"
        conf.persistdir = root + "/persist"
        conf.logdir = root
        conf.reposdir = []
        conf.plugins = False
        conf.install_weak_deps = False
        conf.best = False
        # Newer ones look up files in `filelists` only where that is asked for; this one knows no such setting, and always does.
        if hasattr(conf, "optional_metadata_types"):
            conf.optional_metadata_types = ["filelists"]
        conf.substitutions["arch"] = arch
        conf.substitutions["basearch"] = arch
        conf.substitutions["releasever"] = "1"
        repository = dnf.repo.Repo("lab", conf)
        repository.baseurl = [url]
        base.repos.add(repository)
        base.fill_sack(load_system_repo=False)
        self.name = "dnf " + dnf.const.VERSION

    def unresolved(self):
        """What `dnf repoclosure` looks for."""
        packages = self.base.sack.query().available()
        for package in packages:
            for requirement in package.requires:
                text = str(requirement)
                if text.startswith("rpmlib(") or text.startswith("("):
                    continue
                if not packages.filter(provides=requirement) and not packages.filter(file=text):
                    yield f"{package} requires {text}"

    def add(self, spec):
        if not spec.startswith("="):
            self.base.install(spec)
            return
        selector = dnf.selector.Selector(self.base.sack).set(provides=spec[1:])
        found = selector.matches()
        if not found and spec.startswith("=/"):
            selector = dnf.selector.Selector(self.base.sack).set(file=spec[1:])
            found = selector.matches()
        if not found and not spec.startswith("=("):
            raise dnf.exceptions.MarkingError("no match", spec)
        self.base._goal.install(select=selector, optional=False)

    def solve(self, specs):
        """The packages, or nothing where there is no answer."""
        self.base.reset(goal=True)
        try:
            for spec in specs:
                self.add(spec)
            self.base.resolve()
        except dnf.exceptions.Error:
            return None
        return [str(package) for package in self.base.transaction.install_set]


class Dnf5:
    def __init__(self):
        self.base = base = libdnf5.base.Base()
        config = base.get_config()
        config.installroot = root
        config.cachedir = root + "/cache"
        config.system_cachedir = root + "/cache"
        config.logdir = root
        config.reposdir = []
        config.varsdir = []
        config.pluginpath = "/nonexistent"
        config.plugins = False
        config.install_weak_deps = False
        config.best = False
        config.optional_metadata_types = ("filelists",)
        for name, value in (("arch", arch), ("basearch", arch), ("releasever", "1")):
            base.get_vars().set(name, value)
        base.setup()
        sack = base.get_repo_sack()
        sack.create_repo("lab").get_config().baseurl = [url]
        sack.load_repos(libdnf5.repo.Repo.Type_AVAILABLE)
        self.name = "dnf5 " + importlib.metadata.version("libdnf5")

    def unresolved(self):
        raise NotImplementedError("dnf 4 is asked for that")

    def solve(self, specs):
        goal = libdnf5.base.Goal(self.base)
        for spec in specs:
            if spec.startswith("=") and not spec.startswith("=/"):
                goal.add_provide_install(spec[1:])
            else:
                goal.add_install(spec.removeprefix("="))
        transaction = goal.resolve()
        if transaction.get_problems() != libdnf5.base.GoalProblem_NO_PROBLEM:
            return None
        return [step.get_package().get_nevra() for step in transaction.get_transaction_packages()]


logging.disable(logging.CRITICAL)
try:
    import libdnf5
    asked = Dnf5()
except ImportError:
    import dnf
    import dnf.selector
    asked = Dnf4()
if "ANSWERING" in os.environ:
    print(f"{asked.name} answers", file=sys.stderr)

for line in sys.stdin:
    if line == "closure\n":
        print("\t".join(asked.unresolved()))
        continue
    packages = asked.solve(line.rstrip("\n").split("\t"))
    print("FAIL" if packages is None else "\t".join(sorted(packages)))
    sys.stdout.flush()
