"""Fresh systems to play a new user in: only Debian's smallest set of packages and those that are
named.

mmdebstrap makes each system's folder below target/ from the package archive of this machine. A
session in it has its own processes, mounts and host name, an ordinary user and a clean environment;
it shares the network. Everything that is mounted is mounted inside the session's namespace, so
nothing of it can remain, and removing the folder never reaches a folder of this machine.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.machine import runner
from harness.setup import debian, environment
from harness.setup.environment import EXIT_ENVIRONMENT, Unprepared

USER = "user"
USER_ID = 1000
RUST = "opt/rust"
STEPS = "var/steps"
POLL_S = 0.05
ENDING_S = 20.0

# What an administrator sets so that programs reach the network from here.
OF_THE_NETWORK = (
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST"),
)
OF_CERTIFICATES = ("SSL_CERT_FILE", "PIP_CERT", "CARGO_HTTP_CAINFO")
CERTIFICATES = "etc/ssl/certs/ca-certificates.crt"
# What apt needs to download here: proxies, and a mirror whose dates are old.
OF_APT = ("Acquire::http", "Acquire::Check-")

# Runs as process 1 of its namespace, so it also reaps what loses its parent.
ENTER = """\
set -e
root=$1 name=$2 rust=$3 driver=$4
shift 4
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in full null random tty urandom zero; do
    : > "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
if [ -n "$rust" ]; then
    mount --bind "$rust" "$root/opt/rust"
    mount -o remount,bind,ro "$root/opt/rust"
fi
echo "$name" > "$root/proc/sys/kernel/hostname"
chroot --userspec=1000:1000 --groups= "$root" env -i "$@" sh -c "$driver"
"""
# One shell reads all commands, as a terminal does, so that `cd` and variables last. Each command is
# in a file of its own; `beside` runs it in the background.
DRIVER = """\
cd
while read -r how step; do
    if [ "$how" = beside ]; then
        { (. "$step"); echo $? > "$step.code"; } > "$step.out" 2>&1 < /dev/null &
    else
        . "$step" > "$step.out" 2>&1 < /dev/null
        echo $? > "$step.code"
    fi
done
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended. `code` is None if it was ended because it took too long, or if it took
    the shell with it."""

    code: int | None
    seconds: float
    output: str


@dataclass(frozen=True)
class Root:
    place: Path
    name: str
    # Whether this machine's Rust toolchain is in it.
    rust: bool = False

    @property
    def home(self) -> Path:
        return self.place / "home" / USER

    def inside(self, path: Path) -> str:
        """Returns the path as the session's programs name it."""
        return f"/{path.relative_to(self.place)}"

    def own(self, path: Path) -> None:
        """Gives a file, or a folder with all in it, to the user."""
        for each in [path, *path.rglob("*")]:
            os.chown(each, USER_ID, USER_ID, follow_symlinks=False)

    def write(self, path: Path, text: str) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


def why_not() -> str | None:
    """Returns why no fresh system can be made here, or None."""
    if os.geteuid() != 0:
        return "only root can make a fresh system; remedy: run this as root"
    missing = [tool for tool in ("apt-get", "dpkg-deb", "perl", "git") if not shutil.which(tool)]
    if missing:
        return f"{' and '.join(missing)} not found; remedy: run this on Debian or Ubuntu"
    if runner.run([*_namespaces(), "true"]).code != 0:
        return "namespaces are refused here; remedy: run this where `unshare` may make them"
    if not debian.networked():
        return "this machine has no network; remedy: run this on one that has"
    return None


def make(root: Root, packages: list[str], tools: Path) -> Root:
    """Makes the system anew, with an empty home.

    Raises:
        Unprepared: Debian's tools failed; the reason was printed.
    """
    remove(root.place)
    root.place.parent.mkdir(parents=True, exist_ok=True)
    site, suite, components = _archive()
    command = ["perl", _mmdebstrap(tools), "--quiet", "--mode=root", "--variant=minbase"]
    command += [f"--include={','.join(packages)}", f"--components={','.join(components)}"]
    # A fresh system needs no protection against a loss of power.
    command += ["--dpkgopt=force-unsafe-io", *[f"--aptopt={line}" for line in _of_apt()]]
    ended = runner.run([*command, suite, str(root.place), site])
    if ended.code != 0:
        raise Unprepared(f"mmdebstrap failed (exit {ended.code}); see above", EXIT_ENVIRONMENT)
    for name, line in (
        ("passwd", f"{USER}:x:{USER_ID}:{USER_ID}::/{root.home.relative_to(root.place)}:/bin/sh"),
        ("group", f"{USER}:x:{USER_ID}:"),
        ("hosts", f"127.0.0.1 localhost {root.name}"),
    ):
        with open(root.place / "etc" / name, "a") as file:
            file.write(f"{line}\n")
    (root.place / RUST).mkdir(parents=True)
    prepare(root)
    return root


def prepare(root: Root) -> None:
    """Gives the system an empty home and the network of this machine."""
    remove(root.home)
    root.home.mkdir(parents=True)
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    cargo = Path(os.environ.get("CARGO_HOME") or Path.home() / ".cargo")
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    for source, copy in (
        (Path("/etc/resolv.conf"), root.place / "etc/resolv.conf"),
        (Path("/etc/pip.conf"), root.place / "etc/pip.conf"),
        (Path(bundle or "none"), root.place / CERTIFICATES),
        (config / "pip" / "pip.conf", root.home / ".config" / "pip" / "pip.conf"),
        (cargo / "config.toml", root.home / ".cargo" / "config.toml"),
    ):
        if source.is_file():
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy)
    root.own(root.home)


def remove(place: Path) -> None:
    """Removes a folder, and refuses to if anything is mounted below it."""
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    inside = [mount for mount in mounts if Path(mount).is_relative_to(place.resolve())]
    if inside:
        raise Unprepared(
            f"{inside[0]} is mounted. Remedy: umount it, and run this again", EXIT_ENVIRONMENT
        )
    if place.exists():
        shutil.rmtree(place)


class Session:
    """A shell in a fresh system, which runs one command after another."""

    def __init__(self, root: Root) -> None:
        self.root = root
        self.count = 0
        # A result of an earlier session would pass for one of this.
        remove(root.place / STEPS)
        (root.place / STEPS).mkdir(parents=True)
        root.own(root.place / STEPS)
        rust = _toolchain() if root.rust else ""
        path = ["/usr/local/bin", "/usr/bin", "/bin", *([f"/{RUST}/bin"] if rust else [])]
        clean = {"PATH": ":".join(path), "HOME": root.inside(root.home)}
        clean |= {"LANG": "C.UTF-8", "TERM": "dumb"}
        clean |= {name: os.environ[name] for name in OF_THE_NETWORK if name in os.environ}
        clean |= {name: f"/{CERTIFICATES}" for name in OF_CERTIFICATES if name in os.environ}
        variables = [f"{name}={value}" for name, value in clean.items()]
        enter = ["sh", "-c", ENTER, "sh", str(root.place), root.name, rust, DRIVER]
        self.process = subprocess.Popen(
            [*_namespaces(), *enter, *variables],
            stdin=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, command: str, limit_s: float) -> Ended:
        """Runs a command to its end, or ends the session after `limit_s`."""
        return self._ended(self._begin(command, "here"), limit_s)

    @contextmanager
    def beside(self, command: str, ready: Path, limit_s: float) -> Iterator[list[Ended]]:
        """Runs a command in the background. Enters the block once the file `ready` exists, and
        after the block waits for the command's end and appends it to the list."""
        begun = self._begin(command, "beside")
        deadline = time.monotonic() + limit_s
        while not (ready.exists() or self._over(begun[0]) or time.monotonic() > deadline):
            time.sleep(POLL_S)
        ended: list[Ended] = []
        yield ended
        ended.append(self._ended(begun, limit_s))

    def close(self) -> None:
        """Ends the shell and everything that still runs in its namespace."""
        self.process.stdin.close()
        try:
            self.process.wait(ENDING_S)
        except subprocess.TimeoutExpired:
            self._kill()

    def _begin(self, command: str, how: str) -> tuple[Path, float]:
        self.count += 1
        step = self.root.write(self.root.place / STEPS / f"{self.count}.sh", f"{command}\n")
        begin = time.monotonic()
        if self.process.poll() is None:
            print(how, self.root.inside(step), file=self.process.stdin, flush=True)
        return step, begin

    def _over(self, step: Path) -> bool:
        code = step.with_suffix(".sh.code")
        written = code.exists() and code.read_text().endswith("\n")
        return written or self.process.poll() is not None

    def _ended(self, begun: tuple[Path, float], limit_s: float) -> Ended:
        step, begin = begun
        while not self._over(step):
            if time.monotonic() > begin + limit_s:
                self._kill()
            time.sleep(POLL_S)
        code, out = step.with_suffix(".sh.code"), step.with_suffix(".sh.out")
        return Ended(
            int(code.read_text()) if code.exists() else None,
            time.monotonic() - begin,
            out.read_text(errors="replace") if out.exists() else "",
        )

    def _kill(self) -> None:
        # Process 1 of the namespace ends with it, and takes the others with it.
        self.process.kill()
        self.process.wait()


@contextmanager
def session(root: Root) -> Iterator[Session]:
    opened = Session(root)
    try:
        yield opened
    except BaseException:
        opened._kill()
        raise
    finally:
        opened.close()


def _namespaces() -> list[str]:
    return ["unshare", "--mount", "--pid", "--kill-child", "--uts", "--ipc"]


def _toolchain() -> str:
    """Returns the folder of this machine's Rust toolchain: it has `bin`, and needs no rustup."""
    rustc = str(Path(environment.cargo()).with_name("rustc"))
    # `runner` ends all that runs below this process, and so another session.
    return subprocess.check_output([rustc, "--print", "sysroot"], text=True).strip()


def _mmdebstrap(tools: Path) -> str:
    installed = shutil.which("mmdebstrap")
    if installed:
        return installed
    debian.unpacked(tools, ["mmdebstrap"], lambda root: None)
    return str(tools / "root" / "usr" / "bin" / "mmdebstrap")


def _archive() -> tuple[str, str, list[str]]:
    """Returns the address of this machine's package archive, its release, and its components."""
    listed = ["--format", "$(SITE) $(RELEASE) $(COMPONENT)", "Created-By: Packages"]
    told = runner.run(["apt-get", "indextargets", *listed], capture_stdout=True)
    release = [
        line.partition("=")[2].strip('"')
        for line in Path("/etc/os-release").read_text().splitlines()
        if line.startswith("VERSION_CODENAME=")
    ]
    targets = [line.split() for line in told.stdout.splitlines()]
    found = [target for target in targets if target[1:2] == release]
    if not found:
        raise Unprepared(
            "apt names no package archive of this system's release. Remedy: name one in its "
            "sources",
            EXIT_ENVIRONMENT,
        )
    site, suite, _ = found[0]
    return site, suite, sorted({target[2] for target in found if target[0] == site})


def _of_apt() -> list[str]:
    told = runner.run(["apt-config", "dump"], capture_stdout=True)
    return [line for line in told.stdout.splitlines() if line.startswith(OF_APT)]
