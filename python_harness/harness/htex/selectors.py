"""Users' manager selectors, some with bugs: Python code that only a Python process can run."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

from parsl.executors.high_throughput.manager_selector import ManagerSelector


class AlphabeticalSelector(ManagerSelector):
    """Sorts managers by name; the manager whose name sorts last gets the work."""

    def sort_managers(self, ready_managers, manager_list):
        print("what a selector prints must not disturb anything")
        return sorted(manager_list)


class GatheringSelector(AlphabeticalSelector):
    """Chooses no manager until `count` managers are ready."""

    def __init__(self, count: int) -> None:
        self.count = count

    def sort_managers(self, ready_managers, manager_list):
        gathered = len(ready_managers) >= self.count
        return super().sort_managers(ready_managers, manager_list) if gathered else []


class TableSelector(AlphabeticalSelector):
    """Has a large pickle: a weight for each of many nodes."""

    def __init__(self, rows: int) -> None:
        self.weights = {f"node-{row}": [row, f"rack-{row}"] for row in range(rows)}

    def sort_managers(self, ready_managers, manager_list):
        assert self.weights["node-7"] == [7, "rack-7"]
        return super().sort_managers(ready_managers, manager_list)


class RecordingSelector(ManagerSelector):
    """Records its arguments, its process and its open descriptors."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def sort_managers(self, ready_managers, manager_list):
        seen = {
            "pid": os.getpid(),
            "descriptors": sorted(int(name) for name in os.listdir("/proc/self/fd")),
            "order": [manager.decode() for manager in ready_managers],
            "candidates": sorted(manager.decode() for manager in manager_list),
            "records": {
                manager.decode(): {key: repr(value) for key, value in record.items()}
                for manager, record in ready_managers.items()
            },
        }
        with open(self.path, "a") as file:
            file.write(json.dumps(seen) + "\n")
        return sorted(manager_list)


class RaisingSelector(ManagerSelector):
    """Raises an exception at each call."""

    def sort_managers(self, ready_managers, manager_list):
        raise KeyError("the selector raises an exception")


class SlowSelector(ManagerSelector):
    """Takes longer than the time limit for a selector."""

    def sort_managers(self, ready_managers, manager_list):
        time.sleep(3)
        return sorted(manager_list)


class OddSelector(ManagerSelector):
    """Returns unknown managers, and each known manager twice."""

    def sort_managers(self, ready_managers, manager_list):
        return [b"nobody", *manager_list, *manager_list, b"nobody either"]


class EmptySelector(ManagerSelector):
    """Chooses no manager until two are ready."""

    def sort_managers(self, ready_managers, manager_list):
        return list(manager_list) if len(ready_managers) > 1 else []


class EndingSelector(ManagerSelector):
    """Ends its process at each call."""

    def sort_managers(self, ready_managers, manager_list):
        os._exit(3)


# A module that exists in this process only, like one of a notebook.
_nowhere = types.ModuleType("only_in_this_process")
sys.modules[_nowhere.__name__] = _nowhere


class UnimportableSelector(AlphabeticalSelector):
    """A selector that can be pickled, but not loaded in any other process."""


UnimportableSelector.__module__ = _nowhere.__name__
_nowhere.UnimportableSelector = UnimportableSelector
