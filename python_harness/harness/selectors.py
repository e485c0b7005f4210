"""A manager selector of a user: Python code that only Python can run."""

from __future__ import annotations

from parsl.executors.high_throughput.manager_selector import ManagerSelector


class AlphabeticalSelector(ManagerSelector):
    """The manager whose name sorts last gets the work."""

    def sort_managers(self, ready_managers, manager_list):
        return sorted(manager_list)
