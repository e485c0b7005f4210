"""Manager selectors that rank managers by how busy they are, for `manager_selector`.

htex-interchange recognizes both by name and selects managers without calling Python. It therefore
dispatches slot by slot, and uses prefetch capacity only when no worker of any manager is free.
Another interchange fills each manager, prefetch included, before the next manager in the order gets
a task.
"""

from __future__ import annotations

from typing import Any

from parsl.executors.high_throughput.manager_selector import ManagerSelector


class SpreadManagerSelector(ManagerSelector):
    """Selects the manager with the fewest busy slots first, so that all nodes are loaded alike."""

    def sort_managers(self, ready_managers: dict[bytes, Any], manager_list: set[bytes]) -> Any:
        """Sorts the managers with the best one last, because the interchange takes them from the
        end."""

        def rank(manager: bytes) -> tuple[bool, int, str]:
            record = ready_managers[manager]
            return _has_free_worker(record), -len(record["tasks"]), manager.hex()

        return sorted(manager_list, key=rank)


class PackManagerSelector(ManagerSelector):
    """Selects the busiest manager that has a free worker first; among equals, a manager of the
    block with the lower id. Other managers, and whole blocks, become idle and can be scaled in."""

    def sort_managers(self, ready_managers: dict[bytes, Any], manager_list: set[bytes]) -> Any:
        """Sorts the managers with the best one last, because the interchange takes them from the
        end."""

        def rank(manager: bytes) -> tuple[bool, int, str, str]:
            record = ready_managers[manager]
            block = "" if record["block_id"] is None else str(record["block_id"])
            return not _has_free_worker(record), -len(record["tasks"]), block, manager.hex()

        return sorted(manager_list, key=rank, reverse=True)


def _has_free_worker(record: Any) -> bool:
    return len(record["tasks"]) < int(record["worker_count"])
