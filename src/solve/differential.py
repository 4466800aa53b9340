"""Solves the jobs on standard input with dnf's own Python interface, one line each.

A job is a list of specs separated by tabs: what `dnf install` takes, or `=` and a dependency as
`dnf builddep` reads it. Answers one line per job: the packages, sorted, or FAIL.
"""

import logging
import sys

import dnf
import dnf.selector

url, root, arch = sys.argv[1:]
logging.disable(logging.CRITICAL)
base = dnf.Base()
conf = base.conf
conf.installroot = root
conf.cachedir = root + "/cache"
conf.persistdir = root + "/persist"
conf.logdir = root
conf.reposdir = []
conf.plugins = False
conf.install_weak_deps = False
conf.best = False
conf.substitutions["arch"] = arch
conf.substitutions["basearch"] = arch
conf.substitutions["releasever"] = "1"
repository = dnf.repo.Repo("lab", conf)
repository.baseurl = [url]
base.repos.add(repository)
base.fill_sack(load_system_repo=False)


def unresolved():
    """What `dnf repoclosure` looks for."""
    packages = base.sack.query().available()
    for package in packages:
        for requirement in package.requires:
            text = str(requirement)
            if text.startswith("rpmlib(") or text.startswith("("):
                continue
            if not packages.filter(provides=requirement) and not packages.filter(file=text):
                yield f"{package} requires {text}"


def add(spec):
    if not spec.startswith("="):
        base.install(spec)
        return
    selector = dnf.selector.Selector(base.sack).set(provides=spec[1:])
    found = selector.matches()
    if not found and spec.startswith("=/"):
        selector = dnf.selector.Selector(base.sack).set(file=spec[1:])
        found = selector.matches()
    if not found and not spec.startswith("=("):
        raise dnf.exceptions.MarkingError("no match", spec)
    base._goal.install(select=selector, optional=False)


for line in sys.stdin:
    if line == "closure\n":
        print("\t".join(unresolved()))
        continue
    base.reset(goal=True)
    try:
        for spec in line.rstrip("\n").split("\t"):
            add(spec)
        base.resolve()
        print("\t".join(sorted(str(package) for package in base.transaction.install_set)))
    except dnf.exceptions.Error:
        print("FAIL")
    sys.stdout.flush()
