"""Selects which of Parsl's own tests to run, namely those in which an interchange takes part.

Parsl's suite has two kinds of tests, distinguished by its option `--config`. Tests marked `local`
bring their own configuration (`--config local`). All other tests use the session's configuration
and are made for every executor. Of the first kind, this module selects test modules that name one
of HTEX's classes or configurations, or that start an interchange themselves. Of the second kind, it
selects the folders whose tests submit tasks.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from harness.releases.supported import Release

NAMES_HTEX = re.compile(
    r"HighThroughputExecutor|MPIExecutor|htex_local|htex_config|HTEX"
    r"|INTERCHANGE_LAUNCH_CMD|Popen\(.*interchange"
)

# Marks of tests that need another executor, the network, or a user restricted by file permissions.
_MARKS = ["cleannet", "workqueue", "taskvine", "globus_compute", "radical"]
if os.geteuid() == 0:
    _MARKS.append("unix_filesystem_permissions_required")
LEFT_OUT_MARKS = " and ".join(f"not {mark}" for mark in _MARKS)

# Folders of the MPI tests; the second is that of older releases.
MPI_TESTS = ("test_htex/mpi", "test_mpi_apps")

# Modules that are left out although they name HTEX, with reasons. A run's record shows that an
# interchange takes part in each of the others.
_UNIT_TESTS = "a unit test of a part, or a refusal before a start: no interchange is started"
LEFT_OUT_MODULES = {
    "test_htex/mpi/test_bad_mpi_config.py": _UNIT_TESTS,
    "test_mpi_apps/test_bad_mpi_config.py": _UNIT_TESTS,
    "test_htex/test_block_manager_selector_unit.py": _UNIT_TESTS,
    "test_htex/test_resource_spec_validation.py": _UNIT_TESTS,
    "test_staging/test_staging_https.py": "fetches files from the internet",
}

# Folders of programs that people run by hand, at a site, or for hours.
_LEFT_OUT_FOLDERS = {"integration", "manual_tests", "site_tests", "sites"}


@dataclass(frozen=True)
class Part:
    """The tests of one pytest session: one configuration, and some folders or modules."""

    name: str
    config: str
    places: tuple[str, ...]
    reason: str

    def modules(self, release: Release) -> list[str]:
        """Returns the test modules as pytest names them, without those that this release lacks."""
        tests = release.package / "tests"
        found = []
        for place in self.places:
            path = tests / place
            modules = [path] if path.suffix else sorted(path.rglob("test_*.py"))
            found += [module for module in modules if module.exists()]
        chosen = [str(module.relative_to(tests)) for module in found if self._wants(module)]
        return [f"parsl/tests/{name}" for name in chosen if name not in LEFT_OUT_MODULES]

    def config_argument(self, release: Release) -> str:
        if self.config == "local":
            return self.config
        return str(release.package / "tests" / "configs" / self.config)

    def _wants(self, module) -> bool:
        return self.config != "local" or bool(NAMES_HTEX.search(module.read_text()))


PARTS = (
    Part(
        "htex",
        "local",
        ("test_htex", "test_mpi_apps"),
        "the executor itself: blocks, drain, loss of managers and workers, commands, selectors, "
        "logs, priorities, MPI, encryption",
    ),
    Part(
        "scaling",
        "local",
        ("test_scaling",),
        "scaling in and out asks the interchange for managers and idle times, and holds blocks",
    ),
    Part(
        "monitoring",
        "local",
        ("test_monitoring", "test_shutdown"),
        "node records go from the interchange to the hub, and the hub is fuzzed and killed",
    ),
    Part(
        "errors",
        "local",
        (
            "test_error_handling",
            "test_regression",
            "test_serialization",
            "test_logging",
            "test_staging",
        ),
        "exceptions that cross it, large results, removal of the run directory, past regressions",
    ),
    Part(
        "apps",
        "htex_local.py",
        (
            "test_python_apps",
            "test_bash_apps",
            "test_error_handling",
            "test_regression",
            "test_docs",
            "test_staging",
        ),
        "every kind of app through one encrypted HTEX with IPv6 loopback",
    ),
    Part(
        "apps-alternate",
        "htex_local_alternate.py",
        ("test_python_apps", "test_bash_apps", "test_error_handling"),
        "the same through an HTEX that scales by a strategy, with monitoring, memoization, "
        "retries, short heartbeats, a long poll period and JSON logs",
    ),
)


def parts_of(release: Release) -> tuple[Part, ...]:
    """Returns all parts, and one more with modules that name HTEX in folders outside of these
    parts, because a later release may have new folders."""
    tests = release.package / "tests"
    known = {place for part in PARTS if part.config == "local" for place in part.places}
    others = sorted(
        path.relative_to(tests).as_posix()
        for path in tests.rglob("test_*.py")
        if not known & set(map(str, path.relative_to(tests).parents))
        and path.relative_to(tests).parts[0] not in _LEFT_OUT_FOLDERS
    )
    reason = "tests that use HTEX in folders that no other part covers"
    return (*PARTS, Part("elsewhere", "local", tuple(others), reason))


# About a minute of tests: commands, priorities, bad frames, a refused manager, a lost manager,
# logs, apps. No test in which a manager must start within five seconds, which takes longer on a
# busy machine.
QUICK_PARTS = (
    Part(
        "quick-htex",
        "local",
        (
            "test_htex/test_managers_command.py",
            "test_htex/test_priority_queue.py",
            "test_htex/test_worker_interchange_bad_messages_3262.py",
            "test_htex/test_interchange_exit_bad_registration.py",
            "test_htex/test_log_config.py",
            "test_htex/test_command_concurrency_regression_1321.py",
            "test_serialization/test_3495_deserialize_managerlost.py",
        ),
        "what Parsl itself asserts about an interchange",
    ),
    Part(
        "quick-apps",
        "htex_local.py",
        (
            "test_python_apps/test_basic.py",
            "test_python_apps/test_fail.py",
            "test_python_apps/test_mapred.py",
            "test_error_handling",
        ),
        "apps and their exceptions",
    ),
)
