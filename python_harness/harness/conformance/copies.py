"""Broken copies of stock: Parsl's interchange altered at one place, with the rules that this
breaks.

The copies test the rules. A run against a copy must report the rules that the copy breaks, in
addition to the rules that stock itself breaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.setup import environment


@dataclass(frozen=True)
class Copy:
    """An alteration of stock. `before` occurs once in stock's text. `breaks` lists every rule that
    the copy breaks, in the sections that contain these rules."""

    before: str
    after: str
    breaks: frozenset[str]

    @property
    def sections(self) -> set[str]:
        return {number.rpartition(".")[0] for number in self.breaks}

    def write(self, folder: Path) -> list[str]:
        """Writes the altered copy and returns the command that starts it."""
        python, script = environment.stock_command()
        text = Path(script).read_text()
        assert text.count(self.before) == 1, f"stock has {text.count(self.before)} × {self.before}"
        altered = folder / "interchange.py"
        altered.write_text(text.replace(self.before, self.after))
        return [python, str(altered)]


def _copy(before: str, after: str, *breaks: str) -> Copy:
    return Copy(before, after, frozenset(breaks))


COPIES = {
    "a heartbeat is not echoed": _copy(
        "self.manager_sock.send_multipart([manager_id, PKL_HEARTBEAT_CODE])",
        "pass",
        "P-1.5.2",
        "P-1.5.7",
    ),
    "one task too many": _copy(
        "real_capacity = m['max_capacity'] - tasks_inflight",
        "real_capacity = m['max_capacity'] - tasks_inflight + 1",
        "P-1.4.4",
        "P-1.4.6",
        "P-1.4.8",
        "P-1.4.9",
        "P-1.4.11",
        "P-1.4.12",
    ),
    "the least urgent goes first": _copy(
        "queue_entry = (-priority, -task_id, msg)",
        "queue_entry = (priority, -task_id, msg)",
        "P-1.4.6",
        "P-1.4.8",
        "P-1.4.9",
    ),
    "the latest goes first": _copy(
        "queue_entry = (-priority, -task_id, msg)",
        "queue_entry = (-priority, task_id, msg)",
        "P-1.4.7",
    ),
    "results are pickled anew": _copy(
        "self.results_outgoing.send(msg_b)",
        "self.results_outgoing.send(pickle.dumps(msg))",
        "P-1.7.1",
    ),
    "failures under a header of long ago": _copy(
        "'exception': serialize_object(RemoteExceptionWrapper(*sys.exc_info()))",
        "'exception': b'01\\n' + pickle.dumps(ManagerLost(manager_id, m['hostname']))",
        "P-1.8.2",
        "P-1.8.3",
        "P-1.8.4",
    ),
    "tasks of the lost are forgotten": _copy(
        "for tid in m['tasks']:\n",
        "for tid in []:\n",
        "P-1.8.1",
        "P-1.8.2",
        "P-1.8.3",
        "P-1.8.4",
        "P-1.8.5",
        "P-1.8.7",
        "P-1.8.8",
    ),
    "a manager is given up too early": _copy(
        "time.time() - m['last_heartbeat'] > self.heartbeat_threshold]",
        "time.time() - m['last_heartbeat'] > self.heartbeat_threshold / 2]",
        "P-1.8.5",
    ),
    "packages are not told": _copy(
        'reply[manager_id_str] = m["packages"]',
        "reply[manager_id_str] = {}",
        "P-1.10.6",
    ),
    "an unknown command has an error": _copy(
        'logger.error(f"Received unknown command: {command_req}")\n                reply = None',
        'reply = "unknown command"',
        "P-1.10.11",
    ),
    "blocks are listed once": _copy(
        "self.connected_block_history.append(new_rec['block_id'])",
        "self.connected_block_history = list(\n"
        "    dict.fromkeys([*self.connected_block_history, new_rec['block_id']]))",
        "P-1.10.2",
    ),
    "the held get tasks": _copy(
        'if real_capacity and m["active"] and not m["draining"]:',
        'if real_capacity and not m["draining"]:',
        "P-1.10.7",
    ),
    "the busy are told to exit": _copy(
        "if m['draining'] and len(m['tasks']) == 0:",
        "if m['draining']:",
        "P-1.6.3",
        "P-1.6.4",
    ),
    "Python is not compared": _copy(
        "python_mismatch: bool = ix_minor_py != mgr_minor_py",
        "python_mismatch: bool = False",
        "P-1.9.2",
    ),
    "moments are numbers": _copy(
        "d['timestamp'] = datetime.datetime.now()",
        "d['timestamp'] = time.time()",
        "P-1.11.2",
    ),
    "priorities are whole numbers": _copy(
        "priority = resource_spec.get('priority', float('inf'))",
        "priority = resource_spec.get('priority', float('inf'))\n"
        "            priority = priority if abs(priority) == float('inf') else int(priority)",
        "P-1.4.9",
    ),
    "the priority is taken out of the task": _copy(
        "resource_spec.get('priority', float('inf'))",
        "resource_spec.pop('priority', float('inf'))",
        "P-1.4.2",
    ),
    "busy managers do not drain at their time": _copy(
        "if not m['draining'] and now >= m['drain_time']:",
        "if not m['draining'] and now >= m['drain_time'] and not m['tasks']:",
        "P-1.5.23",
    ),
    "a manager that drains is never lost": _copy(
        "time.time() - m['last_heartbeat'] > self.heartbeat_threshold]",
        "time.time() - m['last_heartbeat'] > self.heartbeat_threshold and not m['draining']]",
        "P-1.8.1",
    ),
    "results have a high-water mark": _copy(
        "self.results_outgoing.set_hwm(0)",
        "pass",
        "P-1.7.12",
    ),
    "batches have a high-water mark": _copy(
        "self.manager_sock.set_hwm(0)",
        "pass",
        "P-1.4.18",
    ),
    "only the major version of Python is compared": _copy(
        "python_mismatch: bool = ix_minor_py != mgr_minor_py",
        "python_mismatch: bool = ix_minor_py.split('.')[0] != mgr_minor_py.split('.')[0]",
        "P-1.9.2",
    ),
    "a hold goes by the beginning of a name": _copy(
        "manager_id = command_req[1].encode('utf-8')",
        "manager_id = command_req[1].encode('utf-8')\n"
        "                for name, each in self._ready_managers.items():\n"
        "                    each['active'] &= not name.startswith(manager_id)",
        "P-1.10.7",
    ),
    "moments are in UTC": _copy(
        "d['timestamp'] = datetime.datetime.now()",
        "d['timestamp'] = datetime.datetime.utcnow()",
        "P-1.11.2",
    ),
    "stdin is read once": _copy(
        "config = pickle.load(sys.stdin.buffer)",
        "config = pickle.loads(os.read(0, 1 << 16))",
        "P-1.1.3",
    ),
    "a probe of a manager that has not registered has no answer": _copy(
        "if mtype == 'connection_probe':",
        "if mtype == 'connection_probe' and manager_id not in self._ready_managers:\n"
        "            return\n\n"
        "        if mtype == 'connection_probe':",
        "P-1.5.4",
    ),
    "results come behind an empty frame": _copy(
        "self.results_outgoing.send(msg_b)",
        "self.results_outgoing.send_multipart([b'', msg_b])",
        "P-1.7.2",
    ),
    "the last words do not linger": _copy(
        "self.zmq_context.destroy()",
        "self.zmq_context.destroy(linger=0)",
        "P-1.9.7",
    ),
}
