"""The command `licences`: writes the licences of everything inside the program into one text,
which goes into the wheel and the archives.

cargo-about finds the texts of the crates. The texts of the C and C++ libraries come from the
sources that are compiled.
"""

from __future__ import annotations

import json
import os
import re

from harness.machine import runner
from harness.publish import crates, native, toolchain
from harness.setup import cargo_tools, environment

FILE = environment.HARNESS_DIR / "THIRD-PARTY-LICENSES.txt"
CONFIG = environment.PROJECT_DIR / ".ci" / "about.toml"
CARGO_ABOUT = "0.9.3"
RULE = "=" * 80

HEAD = """\
Licences of the software inside htex-interchange

The program htex-interchange has the licence Apache-2.0 (the file LICENSE). It contains the
software below, each under its own licence.

`python3 python_harness licences` makes this file.
"""

# What a licence asks of who passes the program on, beyond its text.
MPL = """\
libzmq is linked statically and unchanged. The Mozilla Public License 2.0 asks that whoever
receives the program can get libzmq's source code. It is in the {source}
(folder vendor), and at https://github.com/zeromq/libzmq/tree/v{version}. A changed libzmq
takes its place when its sources replace those of that crate and the program is built again.
"""

# A build by another compiler than zig contains that compiler's runtime instead of LLVM's.
GNU = """\
A program that is built with GCC (`cargo install`, `cargo build`) contains libstdc++ and libgcc
of that GCC instead of LLVM's libraries. Their licence is the GNU General Public License, version
3 or later, with the GCC Runtime Library Exception 3.1 (SPDX: GPL-3.0-or-later WITH
GCC-exception-3.1). The exception permits to pass on such a program under any terms. Their source
code is part of GCC, https://gcc.gnu.org.
"""

RUST = """\
The program contains the parts that it uses of Rust's standard library, under MIT or Apache-2.0,
copyright by the Rust project's contributors, https://github.com/rust-lang/rust. It includes the
crates addr2line, adler2, cfg-if, gimli, hashbrown, libc, memchr, miniz_oxide, object and
rustc-demangle (MIT or Apache-2.0, among others), and compiler_builtins, which has parts of
LLVM's compiler-rt (Apache-2.0 WITH LLVM-exception). The texts of MIT and Apache-2.0 stand below.
"""

# A line of the list of crates, and of the crates that a text belongs to.
LISTED = re.compile(r"^  (?P<name>[\w-]+) (?P<version>\d\S*)(?: {2,}.+)?$", re.MULTILINE)


def run(_options: object) -> int:
    FILE.write_text(made())
    print(FILE)
    return 0


def made() -> str:
    """Returns the whole text."""
    parts = [HEAD, "Crates\n\n" + overview(external()), *_of_libraries(), GNU, RUST]
    return f"\n{RULE}\n\n".join([*parts, *_of_crates()])


def external() -> list[crates.Crate]:
    """Returns the linked crates that are not this project's own."""
    return [crate for crate in crates.linked() if not crate.is_ours]


def overview(which: list[crates.Crate]) -> str:
    return "".join(f"  {f'{crate.name} {crate.version}':<38}  {crate.licence}\n" for crate in which)


def problems(text: str, linked: list[crates.Crate]) -> list[str]:
    """Returns what is wrong in a text about the crates `linked`: crates that the list or the texts
    lack, and crates that are not linked."""
    begin = text.index("\nCrates\n")
    end = text.index(RULE, begin)
    wanted = {(crate.name, crate.version) for crate in linked}
    found = []
    for part, where in ((text[begin:end], "in the list"), (text[end:], "with a text")):
        there = {(at["name"], at["version"]) for at in LISTED.finditer(part)}
        found += [f"{name} {version} is not {where}" for name, version in sorted(wanted - there)]
        found += [
            f"{name} {version} is {where}, but not linked any more"
            for name, version in sorted(there - wanted)
        ]
    return found


def _of_libraries() -> list[str]:
    parts = []
    for library in [*native.libraries(toolchain.TARGETS["x86_64"]), native.musl()]:
        head = f"{library.name} {library.version} ({library.licence})\n{library.homepage}\n"
        notes = MPL.format(**vars(library)) if library.licence == "MPL-2.0" else None
        parts.append("\n".join(filter(None, [head, notes, _plain(library.text)])))
    return parts


def _of_crates() -> list[str]:
    """Returns each text of a licence with the crates that it applies to."""
    wanted = {(crate.name, crate.version) for crate in external()}
    parts = []
    for licence in _about()["licenses"]:
        users = {(use["crate"]["name"], use["crate"]["version"]) for use in licence["used_by"]}
        names = "".join(f"  {name} {version}\n" for name, version in sorted(users & wanted))
        if names:
            text = f"{licence['name']} ({licence['id']})\n\n{names}\n{_plain(licence['text'])}"
            parts.append((licence["id"], names, text))
    return [text for _, _, text in sorted(parts)]


def _plain(text: str) -> str:
    lines = [line.rstrip() for line in text.replace("\f", "").splitlines()]
    return "\n".join(lines).strip("\n") + "\n"


def _about() -> dict:
    """Runs cargo-about and returns what it found."""
    # Only the crate that compares texts is optimised: more takes longer than it saves.
    optimised = ("--config", "profile.dev.package.spdx.opt-level=3")
    plain = ("--debug", "--config", "profile.dev.debug=0")
    chosen = ("--no-default-features", "--features", "cli")
    tools = cargo_tools.folder("cargo-about", CARGO_ABOUT, *plain, *chosen, before=optimised)
    command = [str(tools / "cargo-about"), "generate", "--locked", "--offline", "--fail"]
    command += ["--format", "json", "--config", str(CONFIG)]
    env = os.environ | {"CARGO": environment.cargo()}
    told = runner.run(command, cwd=environment.PROJECT_DIR, env=env, capture_stdout=True)
    if told.code != 0:
        raise environment.Unprepared(
            f"cargo-about failed (exit {told.code}); the reason stands above. A new licence "
            "needs a line in .ci/about.toml.",
            environment.EXIT_BUILD,
        )
    return json.loads(told.stdout)
