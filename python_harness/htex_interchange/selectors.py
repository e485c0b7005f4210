"""Selectors that go by how busy managers are, for `manager_selector`.

htex-interchange knows both by name and chooses without asking Python. So it hands out slot by
slot, and prefetch room only when no worker anywhere is free; another interchange fills each
manager, prefetch included, before the next of the order gets a task.
"""

from __future__ import annotations

from typing import Any

from parsl.executors.high_throughput.manager_selector import ManagerSelector


class SpreadManagerSelector(ManagerSelector):
    """The manager with the fewest busy slots first, so that all nodes work alike."""

    def sort_managers(self, ready_managers: dict[bytes, Any], manager_list: set[bytes]) -> Any:
        """The best one last, as it is taken from the end."""

        def rank(manager: bytes) -> tuple[bool, int, str]:
            record = ready_managers[manager]
            return _has_free_worker(record), -len(record["tasks"]), manager.hex()

        return sorted(manager_list, key=rank)


class PackManagerSelector(ManagerSelector):
    """The busiest manager that has a free worker first, and among equals one of the lesser block,
    so that others, and whole blocks, become idle and can be scaled in."""

    def sort_managers(self, ready_managers: dict[bytes, Any], manager_list: set[bytes]) -> Any:
        """The best one last, as it is taken from the end."""

        def rank(manager: bytes) -> tuple[bool, int, str, str]:
            record = ready_managers[manager]
            block = "" if record["block_id"] is None else str(record["block_id"])
            return not _has_free_worker(record), -len(record["tasks"]), block, manager.hex()

        return sorted(manager_list, key=rank, reverse=True)


def _has_free_worker(record: Any) -> bool:
    return len(record["tasks"]) < int(record["worker_count"])
