"""What a release consists of: the source archive, the recipes, and the checks of its version."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from harness.publish import recipes, release, sdist, toolchain
from harness.setup import cargo_tools, environment
from tests.test_install import Fresh

pytestmark = pytest.mark.ours_only("this is about our own package")

PROJECT = environment.PROJECT_DIR
BUILD_S = 3600


def test_a_version_that_differs_in_one_place_is_refused():
    manifest = (PROJECT / "Cargo.toml").read_text()
    assert release.pickle_version(manifest) == sdist.version()
    changelog = release.CHANGELOG.read_text()
    newest, text = release.newest_entry(changelog)
    assert newest == sdist.version()
    assert text.strip()

    broken = changelog.replace(f"\n## {newest}\n", f"\n## 9.9.9\n\nOther.\n\n## {newest}\n")
    assert release.newest_entry(broken) == ("9.9.9", "Other.\n")
    named = {"manifest": newest, "changelog": release.newest_entry(broken)[0]}
    with pytest.raises(release.Refused, match=r"9\.9\.9 +changelog") as refused:
        release.same_version(named)
    assert f"{newest}      manifest" in str(refused.value)
    with pytest.raises(release.Refused, match="has no entry"):
        release.newest_entry("# Changelog\n")


def test_the_manual_page_names_the_version():
    page = subprocess.check_output([environment.binary(), "man"], text=True)
    assert release.version_of_page(page) == sdist.version()
    assert release.version_of_page(page.replace(sdist.version(), "9.9.9")) == "9.9.9"


def test_only_a_dry_run_is_a_command():
    command = [sys.executable, str(environment.HARNESS_DIR), "release"]
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 2
    assert "A release is published by a person" in told.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return sdist.build(tmp_path_factory.mktemp("sdist"))


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_the_same_commit_gives_the_same_archive(archive, tmp_path, measured):
    measured(f"source archive: {archive.stat().st_size / 1e6:.1f} MB")
    assert sdist.build(tmp_path).read_bytes() == archive.read_bytes()
    with tarfile.open(archive) as tar:
        names = tar.getnames()
        (root,) = {name.split("/")[0] for name in names}
        commit = tar.extractfile(f"{root}/COMMIT").read().decode()
        information = tar.extractfile(f"{root}/PKG-INFO").read().decode()
    assert re.fullmatch("[0-9a-f]{40}\n", commit)
    assert f"\nVersion: {sdist.version()}\n" in information
    assert not [name for name in names if name.startswith(f"{root}/tests/fuzz")]


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_a_wheel_is_built_from_the_archive_without_a_network(archive, tmp_path):
    """A workflow through it is encrypted, so libzmq was compiled with CURVE from the sources that
    the archive holds."""
    toolchain.prepare_tools()
    env = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    env |= {
        "PATH": cargo_tools.path_with(toolchain.VENV / "bin"),
        "CARGO_HOME": str(tmp_path / "cargo-home"),
        "CARGO_NET_OFFLINE": "true",
    }
    command = [toolchain.VENV / "bin" / "python", "-m", "pip", "wheel", "--no-build-isolation"]
    command += ["--no-deps", "--no-index", "--wheel-dir", tmp_path / "wheels", archive]
    told = subprocess.run(
        [*recipes.without_network(), *map(str, command)], env=env, capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout + told.stderr
    (built,) = (tmp_path / "wheels").glob("htex_interchange-*.whl")
    fresh = Fresh(tmp_path / "venv")
    fresh.pip("install", built)
    linked = fresh.workflow("linked", tmp_path / "linked")
    assert linked["executable"] == str(fresh.scripts / "htex-interchange")


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_every_recipe_is_accepted_by_what_lints_it(archive, tmp_path, measured):
    filled = recipes.fill(archive, tmp_path / "filled")
    assert not [path for path in filled.rglob("*.*") if "@SHA256@" in path.read_text()]
    verdicts = recipes.check(filled, archive)
    for one in verdicts:
        measured(f"{one.what}: {one.linted}; {one.built}")
    assert [one.what for one in verdicts if one.failed] == []


@pytest.mark.long
@pytest.mark.timeout(BUILD_S)
def test_a_wrong_recipe_is_refused(archive, tmp_path):
    filled = recipes.fill(archive, tmp_path / "filled")
    faults = {
        "conda-forge/recipe.yaml": ("requirements:", "requirement:"),
        "spack/package.py": ("class HtexInterchange", "class Htexinterchange"),
        "container/Containerfile": ("--no-install-recommends", ""),
    }
    for name, (before, after) in faults.items():
        recipe = filled / name
        recipe.write_text(recipe.read_text().replace(before, after))
    (easyconfig,) = (filled / "easybuild").glob("*.eb")
    easyconfig.write_text(easyconfig.read_text() + "x=1\n")
    refused = [one.what for one in recipes.check(filled, None) if one.failed]
    assert refused == ["conda-forge", "spack", "easybuild", "container"]
