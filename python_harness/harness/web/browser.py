"""A real headless browser that loads pages and reports their contents.

`rendered(url)` and `screenshot(url, path)` open one page; `Browser` opens several in turn. Pages
may load only from this machine and from files. A request to any other host is refused and listed,
or answered with a local file (`substitutes`), so that no result depends on an external server.

The browser is the first available of: the executable in HTEX_TEST_BROWSER, the browser unpacked
earlier, a Chromium or Chrome on PATH, and Debian's chromium-headless-shell, which is then unpacked
into target/harness/chromium.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import shutil
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from harness.setup import debian, environment
from harness.web.devtools import BrowserFailed, DevTools

VARIABLE = "HTEX_TEST_BROWSER"
PLACE = environment.BUILD_DIR / "chromium"
PACKAGE = "chromium-headless-shell"
PROGRAM = Path("usr") / "lib" / "chromium" / PACKAGE
NAMES_ON_PATH = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
    "chrome",
)

# No sandbox: it refuses to run as root, and containers lack what it needs; all pages are trusted.
# No /dev/shm: containers have little of it. The other options keep the browser from contacting its
# vendor.
OPTIONS = (
    "--headless",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-quic",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--hide-scrollbars",
    "--window-size=1280,1000",
    "--remote-debugging-pipe",
)

OWN_SCHEMES = {"about", "blob", "data", "file"}
RENDERING_S = 30.0
HTTP_ERRORS = 400


def program() -> Path:
    """Returns the browser's executable, and first unpacks one if this machine has none."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named)
    made = PLACE / "bin" / PROGRAM.name
    if debian.complete(PLACE, [PACKAGE]):
        return made
    for name in NAMES_ON_PATH:
        found = shutil.which(name)
        # Some systems have a stub of that name that only suggests installing a browser.
        if found and debian.runs(found, "--version"):
            return Path(found)
    try:
        debian.unpacked(PLACE, [PACKAGE], _finish)
    except environment.Unprepared as reason:
        raise environment.Unprepared(
            f"no browser to open pages in was found: none on PATH, and {reason}. Remedy: install "
            f"Chromium or Chrome, or let {VARIABLE} name one.",
            reason.exit_code,
        ) from None
    return made


def _finish(root: Path) -> None:
    if not debian.runs(debian.launcher(root, root / PROGRAM), "--version"):
        raise environment.Unprepared(
            f"the unpacked {PACKAGE} does not start", environment.EXIT_ENVIRONMENT
        )


@dataclass
class Page:
    """A page's contents and errors after the browser has loaded it."""

    url: str
    status: int = 0
    html: str = ""
    # The value of the JavaScript expression `read`.
    value: Any = None
    # Uncaught exceptions, console.error messages, and failed requests to this machine.
    console_errors: list[str] = field(default_factory=list)
    # The HTTP status of every answered request, by URL.
    statuses: dict[str, int] = field(default_factory=dict)
    # URLs of refused requests to other machines; none of these requests was sent.
    refused: list[str] = field(default_factory=list)
    substituted: list[str] = field(default_factory=list)
    loaded: bool = False
    crashed: bool = False


class Browser:
    """A running browser; every page opens in a separate tab, which is then closed."""

    def __init__(self, substitutes: dict[str, Path] | None = None) -> None:
        """`substitutes` maps URLs of other machines to the local files served in their place."""
        self.substitutes = {url: path.read_bytes() for url, path in (substitutes or {}).items()}
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        executable = program()
        self._profile = tempfile.TemporaryDirectory(prefix="browser-", ignore_cleanup_errors=True)
        profile = Path(self._profile.name)
        command = [str(executable), *OPTIONS, f"--user-data-dir={profile / 'profile'}"]
        self._tools = DevTools([*command, "about:blank"], profile / "said", self._on_event)
        return self

    def __exit__(self, *_exception) -> None:
        self._tools.close()
        self._profile.cleanup()

    def open(
        self,
        url: str,
        *,
        until: str = "true",
        read: str = "null",
        picture: Path | None = None,
        printed: Path | None = None,
        width: int | None = None,
        media: str = "",
        within_s: float = RENDERING_S,
    ) -> Page:
        """Loads the page, waits for the JavaScript condition `until`, evaluates `read`, takes the
        page's picture (PNG) and prints the page (PDF). Fails if `until` does not hold within
        `within_s`. `width` is the window's width in CSS pixels; `media` is the media type for style
        sheets: screen or print."""
        target = self._tools.call("Target.createTarget", url="about:blank")["targetId"]
        session = self._tools.call("Target.attachToTarget", targetId=target, flatten=True)[
            "sessionId"
        ]
        page = self._pages[session] = Page(url)
        try:
            for domain in ("Page", "Runtime", "Log", "Network", "Fetch"):
                self._tools.call(f"{domain}.enable", session)
            # Without a cache, every request is sent, whatever pages were opened before.
            self._tools.call("Network.setCacheDisabled", session, cacheDisabled=True)
            self._tools.call("Emulation.setEmulatedMedia", session, media=media)
            if width:
                size = {"width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": False}
                self._tools.call("Emulation.setDeviceMetricsOverride", session, **size)
            self._load(page, session, until, time.monotonic() + within_s)
            page.value = self._evaluate(read, session)
            page.html = self._evaluate("document.documentElement.outerHTML", session)
            if picture:
                self._take_picture(picture, session)
            if printed:
                paper = self._tools.call("Page.printToPDF", session, printBackground=True)
                printed.write_bytes(base64.b64decode(paper["data"]))
        finally:
            del self._pages[session]
        self._tools.call("Target.closeTarget", targetId=target)
        page.status = page.statuses.get(url, 0)
        return page

    def _load(self, page: Page, session: str, until: str, deadline: float) -> None:
        begun = self._tools.call("Page.navigate", session, url=page.url)
        if begun.get("errorText"):
            raise BrowserFailed(f"{page.url}: {begun['errorText']}")
        while not (page.loaded and self._evaluate(f"Boolean({until})", session)):
            status = page.statuses.get(page.url, 0)
            if page.crashed or (page.loaded and status >= HTTP_ERRORS):
                raise self._failure(page, session, "crashed" if page.crashed else str(status))
            if time.monotonic() >= deadline:
                missing = until if page.loaded else "loaded"
                raise self._failure(page, session, f"condition not reached: {missing}")
            self._tools.listen(0.05)

    def _failure(self, page: Page, session: str, why: str) -> BrowserFailed:
        seen = "document.body ? document.body.innerText.slice(0, 1500) : ''"
        text = "" if page.crashed else self._evaluate(seen, session)
        errors = "\n".join(page.console_errors)
        return BrowserFailed(f"{page.url}: {why}\n--- errors\n{errors}\n--- the page\n{text}")

    def _evaluate(self, expression: str, session: str) -> Any:
        answer = self._tools.call(
            "Runtime.evaluate",
            session,
            expression=expression,
            returnByValue=True,
            awaitPromise=True,
        )
        if "exceptionDetails" in answer:
            raise BrowserFailed(f"{expression}: {_exception(answer['exceptionDetails'])}")
        return answer["result"].get("value")

    def _take_picture(self, path: Path, session: str) -> None:
        shot = self._tools.call(
            "Page.captureScreenshot", session, format="png", captureBeyondViewport=True
        )
        path.write_bytes(base64.b64decode(shot["data"]))

    def _on_event(self, name: str, about: dict, session: str) -> None:
        page = self._pages.get(session)
        if page is None:
            return
        if name == "Fetch.requestPaused":
            self._decide(page, about, session)
        elif name == "Page.loadEventFired":
            page.loaded = True
        elif name == "Inspector.targetCrashed":
            page.crashed = True
        elif name == "Network.responseReceived":
            answer = about["response"]
            if not answer["url"].startswith("data:"):
                page.statuses[answer["url"]] = answer["status"]
        elif name == "Runtime.exceptionThrown":
            page.console_errors.append(_exception(about["exceptionDetails"]))
        elif name == "Runtime.consoleAPICalled" and about["type"] in ("error", "assert"):
            words = [str(arg.get("value", arg.get("description"))) for arg in about["args"]]
            page.console_errors.append(" ".join(words))
        elif name == "Log.entryAdded" and about["entry"]["level"] == "error":
            entry = about["entry"]
            # A refused request is not an error of the page.
            if entry.get("url") not in page.refused:
                page.console_errors.append(f"{entry['text']} {entry.get('url', '')}")

    def _decide(self, page: Page, about: dict, session: str) -> None:
        """Lets a request pass, answers it with a file, or refuses it."""
        url, request = about["request"]["url"], about["requestId"]
        if url in self.substitutes:
            page.substituted.append(url)
            body = base64.b64encode(self.substitutes[url]).decode()
            self._tools.tell(
                "Fetch.fulfillRequest", session, requestId=request, responseCode=200, body=body
            )
        elif _of_this_machine(url):
            self._tools.tell("Fetch.continueRequest", session, requestId=request)
        else:
            page.refused.append(url)
            self._tools.tell(
                "Fetch.failRequest", session, requestId=request, errorReason="BlockedByClient"
            )


def rendered(url: str, *, substitutes: dict[str, Path] | None = None, **options) -> Page:
    """Opens one page in a new browser; `options` as for `Browser.open`."""
    with Browser(substitutes) as browser:
        return browser.open(url, **options)


def screenshot(url: str, path: Path, **options) -> Page:
    """Opens one page as `rendered` does, and writes a picture of the whole page (PNG) to `path`."""
    return rendered(url, picture=path, **options)


def _exception(details: dict) -> str:
    return details.get("exception", {}).get("description") or details["text"]


def _of_this_machine(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme in OWN_SCHEMES or parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False
