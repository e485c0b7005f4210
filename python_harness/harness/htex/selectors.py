"""Manager selectors of a user: Python code that only Python can run, sound and otherwise."""

from __future__ import annotations

import json
import os
import sys
import time
import types
from pathlib import Path

from parsl.executors.high_throughput.manager_selector import ManagerSelector


class AlphabeticalSelector(ManagerSelector):
    """The manager whose name sorts last gets the work."""

    def sort_managers(self, ready_managers, manager_list):
        print("what a selector prints must not disturb anything")
        return sorted(manager_list)


class GatheringSelector(AlphabeticalSelector):
    """Chooses nobody, until so many are there."""

    def __init__(self, count: int) -> None:
        self.count = count

    def sort_managers(self, ready_managers, manager_list):
        gathered = len(ready_managers) >= self.count
        return super().sort_managers(ready_managers, manager_list) if gathered else []


class TableSelector(AlphabeticalSelector):
    """Knows a weight for each of a great many nodes."""

    def __init__(self, rows: int) -> None:
        self.weights = {f"node-{row}": [row, f"rack-{row}"] for row in range(rows)}

    def sort_managers(self, ready_managers, manager_list):
        assert self.weights["node-7"] == [7, "rack-7"]
        return super().sort_managers(ready_managers, manager_list)


class RecordingSelector(ManagerSelector):
    """Writes down what it is shown, and where it runs."""

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
    """Fails each time."""

    def sort_managers(self, ready_managers, manager_list):
        raise KeyError("the selector has a fault")


class SlowSelector(ManagerSelector):
    """Takes longer than it is given."""

    def sort_managers(self, ready_managers, manager_list):
        time.sleep(3)
        return sorted(manager_list)


class OddSelector(ManagerSelector):
    """Names whoever is not there, and one manager twice."""

    def sort_managers(self, ready_managers, manager_list):
        return [b"nobody", *manager_list, *manager_list, b"nobody either"]


class EmptySelector(ManagerSelector):
    """Chooses nobody, until there are two to choose from."""

    def sort_managers(self, ready_managers, manager_list):
        return list(manager_list) if len(ready_managers) > 1 else []


class EndingSelector(ManagerSelector):
    """Ends its process when it is asked."""

    def sort_managers(self, ready_managers, manager_list):
        os._exit(3)


# A class whose module exists in this process only, as one of a notebook does.
_nowhere = types.ModuleType("only_in_this_process")
sys.modules[_nowhere.__name__] = _nowhere


class UnimportableSelector(AlphabeticalSelector):
    """Can be pickled, and loaded nowhere else."""


UnimportableSelector.__module__ = _nowhere.__name__
_nowhere.UnimportableSelector = UnimportableSelector
