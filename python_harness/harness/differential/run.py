"""The differential test: plays one conversation, drawn from a seed, to stock and htex-interchange.

Both interchanges are real processes over real ZeroMQ. They run at the same time, each with its own
player; afterwards their transcripts are compared. `HTEX_TEST_SEED=17` (or `17,18`, `100-199`)
replays only those conversations.

Some cases are left to tests of htex-interchange alone, because stock's answer is random or missing:
managers of one block (a tie), NaN as a priority, priorities that no float holds, several results
behind one marker, messages other than heartbeats as a sign of life, tasks for a manager whose
connection is closed, a stopped process, the end of the submit side, certificates.
"""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from harness.differential import rules
from harness.differential.endings import ENDINGS, play_ending
from harness.differential.peers import Ended, Tamper
from harness.differential.play import Player, Transcript
from harness.differential.script import Conversation, draw
from harness.fakes.wire import FakeSubmitSide, Silence
from harness.htex.interchange import command_under_test, stock_under_test
from harness.setup import environment

SEED_VARIABLE = "HTEX_TEST_SEED"
SEEDS = 20
SEEDS_LONG = 500


def seeds(long: bool) -> list[int]:
    """The seeds of the conversations to play."""
    named = os.environ.get(SEED_VARIABLE)
    if not named:
        return list(range(1, 1 + (SEEDS_LONG if long else SEEDS)))
    chosen: list[int] = []
    for part in named.split(","):
        first, _, last = part.partition("-")
        chosen += range(int(first), int(last or first) + 1)
    return chosen


def conversation(seed: int) -> Conversation:
    return draw(seed, list(ENDINGS))


def play_stock(told: Conversation, workdir: Path) -> Transcript:
    return _play(told, workdir, rules.STOCK, environment.stock_command(), None)


def play_ours(told: Conversation, workdir: Path, tamper: Tamper | None = None) -> Transcript:
    """Plays to the interchange under test. If that is stock, only chance may cause differences."""
    kind = rules.STOCK if stock_under_test() else rules.OURS
    return _play(told, workdir, kind, command_under_test(), tamper)


def difference(told: Conversation, stock_dir: Path, ours_dir: Path) -> str | None:
    """Plays the conversation to both interchanges and describes the first difference."""
    with signals_at_their_defaults(), ThreadPoolExecutor(2) as pool:
        stock = pool.submit(play_stock, told, stock_dir)
        ours = pool.submit(play_ours, told, ours_dir)
        return compare(told, stock.result(), ours.result())


@contextmanager
def signals_at_their_defaults():
    """Restores the default handling of SIGINT and SIGHUP for processes started inside. Jobs of
    `nohup` and background jobs of scripts inherit ignored signals, and stock would then survive
    these signals."""
    numbers = (signal.SIGINT, signal.SIGHUP)
    ignored = [number for number in numbers if signal.getsignal(number) == signal.SIG_IGN]
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        for number in ignored:
            signal.signal(number, signal.SIG_IGN)


def compare(told: Conversation, stock: Transcript, ours: Transcript) -> str | None:
    found = rules.first_difference(stock, ours, told)
    if found is None:
        return None
    return f"{told}: first difference, replay with {SEED_VARIABLE}={told.seed}\n  {found}"


def _play(
    told: Conversation, workdir: Path, kind: str, command: list[str], tamper: Tamper | None
) -> Transcript:
    workdir.mkdir(parents=True, exist_ok=True)
    side = FakeSubmitSide(workdir, encrypted=told.encrypted, hub=told.hub)
    player = Player(told, side, kind, command, tamper)
    try:
        player.play()
        play_ending(player)
    except (Ended, Silence) as reason:
        player.transcript.broke_off = str(reason)
    finally:
        side.interchange.end()
        for peer in player.peers.values():
            peer.close()
        side.close()
    return player.transcript
