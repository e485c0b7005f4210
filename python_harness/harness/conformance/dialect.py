"""The messages of one Parsl release's peers, where they differ from those of the newest release."""

from __future__ import annotations

from dataclasses import dataclass

from harness.conformance.page import numbers


@dataclass(frozen=True)
class Dialect:
    """The dialect of one release; `name` is written as in Parsl's VERSION."""

    name: str

    @property
    def release(self) -> tuple[int, ...]:
        return numbers(self.name)

    def since(self, release: str) -> bool:
        return self.release >= numbers(release)

    @property
    def probes(self) -> bool:
        return self.since("2025.07.07")

    @property
    def has_context(self) -> bool:
        return self.since("2025.09.29")

    @property
    def encrypts_the_hub(self) -> bool:
        return self.since("2026.08.10")

    @property
    def marks_results(self) -> bool:
        """Whether results and records are sent behind a marker frame."""
        return not self.since("2026.10.05")

    def config(self, config: dict) -> dict:
        """Returns the newest executor's configuration without the keys that this release does not
        know."""
        added = {"_check_python_mismatch": "2025.09.15", "log_config": "2026.05.18"}
        return {
            key: value
            for key, value in config.items()
            if key not in added or self.since(added[key])
        }

    def registration(self, message: dict) -> dict:
        if not self.since("2026.10.19"):
            message.pop("drain_time", None)
        return message

    def task(self, task_id: int, buffer: bytes, context: dict) -> dict:
        if self.has_context:
            return {"task_id": task_id, "context": context, "buffer": buffer}
        spec = context.get("resource_spec", {})
        return {"task_id": task_id, "resource_spec": spec, "buffer": buffer}

    def hold(self, manager: object) -> object:
        if self.since("2026.07.27"):
            return ["HOLD_MANAGER", manager]
        return f"HOLD_WORKER;{manager}"
