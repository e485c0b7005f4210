"""The command `sdist`: the source archive from which a wheel is built without a network.

It holds what a build needs of the last commit, and the crates that the product is linked from,
C sources included. `pip wheel` takes it as it is; recipes of package managers start from it. Files
are sorted, and times and owners are fixed, so the same commit gives the same bytes.
"""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath

from harness.machine import runner
from harness.publish import clone, toolchain
from harness.setup import cargo_tools, environment

PROJECT = environment.PROJECT_DIR
OUT = PROJECT / "target" / "sdist"
WORKSHOP = PROJECT / "target" / "vendor"

# `cargo vendor` takes crates for every system and for tests, too; this tool leaves stubs for them.
FILTER = "cargo-vendor-filterer"
FILTER_VERSION = "0.5.18"
# Files of crates that no build of the product reads.
LEFT_OUT_OF_CRATES = (
    "tracing#test-macros",
    "vcpkg#test-data",
    "zeromq-src#vendor/Doxygen.cfg",
    "zeromq-src#vendor/NEWS",
    "zeromq-src#vendor/builds",
    "zeromq-src#vendor/doc",
    "zeromq-src#vendor/packaging",
    "zeromq-src#vendor/perf",
    "zeromq-src#vendor/tests",
    "zeromq-src#vendor/unittests",
)

# A build reads the manifests of all members of the workspace, and so needs their sources.
KEPT = (
    ".cargo",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "benches",
    "python_harness/htex_interchange",
    "src",
    "tests/support",
)
PICTURES = (".png", ".svg")

# The project table names files beside itself, and in the archive it stands at the top.
MOVED = {
    'readme = "../README.md"': 'readme = "README.md"',
    'manifest-path = "../Cargo.toml"': 'manifest-path = "Cargo.toml"',
    'python-source = "."': 'python-source = "python_harness"',
}
# Where the settings of the developers' tools begin.
OF_TOOLS = "[tool.mypy]"


def run(options) -> int:
    print(build(Path(options.out).absolute() if options.out else OUT))
    return 0


def version() -> str:
    return _in_manifest("version")


def repository() -> str:
    """Returns the address of the forge, which has a page for each release."""
    return _in_manifest("repository")


def _in_manifest(key: str) -> str:
    manifest = (PROJECT / "Cargo.toml").read_text()
    return re.search(rf'^{key} = "(.+)"', manifest, re.MULTILINE)[1]


def build(out: Path = OUT) -> Path:
    """Writes the archive of the last commit into `out` and returns its path.

    Raises:
        Unprepared: this is no clone, or a tool is missing or failed; the reason was printed.
    """
    commit = clone.git("rev-parse", "HEAD").strip()
    if clone.git("status", "--porcelain", "--untracked-files=no"):
        print(f"sdist: takes commit {commit[:12]}; changes that are not committed are left out")
    name = f"htex_interchange-{version()}"
    tree = WORKSHOP / name
    shutil.rmtree(WORKSHOP / name, ignore_errors=True)
    tree.mkdir(parents=True)
    _unpack_commit(tree)
    (tree / "COMMIT").write_text(f"{commit}\n")
    project = _project_at_the_top((environment.HARNESS_DIR / "pyproject.toml").read_text())
    (tree / "pyproject.toml").write_text(project)
    for licence in _many(project, "license-files"):
        if not (tree / licence).exists():
            text = clone.git("show", f"HEAD:python_harness/{licence}")
            (tree / licence).write_text(text)
    _vendor(tree)
    (tree / "PKG-INFO").write_text(_package_information(tree))
    out.mkdir(parents=True, exist_ok=True)
    archive = out / f"{name}.tar.gz"
    pack(tree, archive)
    shutil.rmtree(tree)
    return archive


def pack(tree: Path, archive: Path) -> None:
    """Packs a folder so that its bytes depend only on its files' names, contents and modes."""

    def neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
        entry.uid = entry.gid = 0
        entry.uname = entry.gname = ""
        entry.mtime = toolchain.SOURCE_DATE_EPOCH_S
        entry.mode = 0o755 if entry.isdir() or entry.mode & 0o100 else 0o644
        return entry

    # gzip's header would have the time and the name of the file.
    with (
        open(archive, "wb") as file,
        gzip.GzipFile("", "wb", compresslevel=9, fileobj=file, mtime=0) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for path in sorted(tree.rglob("*")):
            if not path.is_dir():
                tar.add(path, f"{tree.name}/{path.relative_to(tree)}", filter=neutral)


def _unpack_commit(tree: Path) -> None:
    archive = tree.with_suffix(".commit.tar")
    clone.git("archive", "--format=tar", f"--output={archive}", "HEAD", *KEPT)
    with tarfile.open(archive) as tar:
        for entry in tar:
            if entry.isfile() and PurePosixPath(entry.name).suffix not in PICTURES:
                place = tree / entry.name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(tar.extractfile(entry).read())
                place.chmod(entry.mode | 0o600)
            elif entry.issym():
                # A copy, for tools that unpack no links; git names LICENSE before what links to it.
                target = os.path.normpath(PurePosixPath(entry.name).parent / entry.linkname)
                shutil.copyfile(tree / target, tree / entry.name)
    archive.unlink()


def _project_at_the_top(text: str) -> str:
    for before, after in MOVED.items():
        if text.count(f"{before}\n") != 1:
            raise environment.Unprepared(
                f"python_harness/pyproject.toml has not one line `{before}`. Remedy: adapt MOVED "
                "in harness/publish/sdist.py.",
                environment.EXIT_BUILD,
            )
        text = text.replace(f"{before}\n", f"{after}\n")
    lines = text.partition(f"\n{OF_TOOLS}\n")[0].splitlines()
    while lines and (not lines[-1] or lines[-1].startswith("#")):
        lines.pop()
    return "\n".join(lines) + "\n"


def _vendor(tree: Path) -> None:
    """Puts the crates into `vendor`, and the setting that makes cargo use them into .cargo."""
    tools = cargo_tools.folder(FILTER, FILTER_VERSION)
    env = os.environ | {"PATH": cargo_tools.path_with(tools)}
    command = [str(tools / FILTER), "vendor-filterer", "--keep-dep-kinds=no-dev"]
    command += [f"--platform={platform}" for platform in toolchain.TARGETS.values()]
    command += [f"--exclude-crate-path={path}" for path in LEFT_OUT_OF_CRATES]
    # The tool can read only one package's dependencies, which without this list are the product's.
    manifest = tree / "Cargo.toml"
    text = manifest.read_text()
    manifest.write_text(re.sub(r"(?ms)^default-members = \[.*?^\]$", "", text))
    ended = runner.run([*command, "vendor"], cwd=tree, env=env, capture_stdout=True)
    manifest.write_text(text)
    if ended.code != 0:
        raise environment.Unprepared(
            f"the crates could not be put into the archive (exit {ended.code}); the reason stands "
            "above.",
            environment.EXIT_BUILD,
        )
    # cargo prints the setting.
    setting = ended.stdout[ended.stdout.index("[source.") :]
    with open(tree / ".cargo" / "config.toml", "a") as settings:
        settings.write(f"\n# Every crate from outside is in this archive.\n{setting}")


def _package_information(tree: Path) -> str:
    """Returns the core metadata that an index and pip read without building anything."""
    project = (tree / "pyproject.toml").read_text()

    def one(key: str) -> str:
        return re.search(rf'^{key} = "(.+)"', project, re.MULTILINE)[1]

    lines = io.StringIO()
    for key, value in [
        ("Metadata-Version", "2.4"),
        ("Name", one("name")),
        ("Version", version()),
        ("Summary", one("description")),
        ("Keywords", ",".join(_many(project, "keywords"))),
        ("License-Expression", one("license")),
        *[("License-File", file) for file in _many(project, "license-files")],
        ("Requires-Python", one("requires-python")),
        *[("Classifier", classifier) for classifier in _many(project, "classifiers")],
        *[("Requires-Dist", dependency) for dependency in _many(project, "dependencies")],
        ("Project-URL", f"Source Code, {repository()}"),
        ("Description-Content-Type", "text/markdown; charset=UTF-8; variant=GFM"),
    ]:
        lines.write(f"{key}: {value}\n")
    return f"{lines.getvalue()}\n{(tree / 'README.md').read_text()}"


def _many(project: str, key: str) -> list[str]:
    """Returns the list of texts below a key of the project table."""
    inside = re.search(rf"(?ms)^{key} = \[(.*?)\]$", project)[1]
    return re.findall(r'"(.+?)"', inside)
