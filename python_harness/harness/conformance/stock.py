"""Lists the rules that Parsl's own interchange breaks in the newest supported release, with
reasons.

A test compares the list with a real run, so a rule must be removed once stock keeps it. Releases up
to 2026.07.20 break P-1.10.11 as well: a command that is not text ends them.
"""

from __future__ import annotations

UNPICKLES = "it unpickles what peers send, and so runs what the bytes name"
DIES = "nothing catches the exception, which ends the process"

BREAKS: dict[str, str] = {
    "P-1.2.10": "it ends before it serves commands, and the executor waits 120 s",
    "P-1.2.11": "its configuration is the arguments of a function that has no other ones",
    "P-1.4.13": DIES,
    "P-1.4.14": f"a priority is negated: {DIES}",
    "P-1.4.15": UNPICKLES,
    "P-1.5.14": f"fields are read by their names: {DIES}",
    "P-1.5.15": f"capacities are subtracted: {DIES}",
    "P-1.5.17": UNPICKLES,
    "P-1.5.19": f"MANAGERS decodes each identity as UTF-8: {DIES}",
    "P-1.5.21": "a new record without tasks replaces the manager's record",
    "P-1.7.8": "it looks at the id of a result alone",
    "P-1.7.9": f"the id is read outside of what is caught: {DIES}",
    "P-1.7.11": "it does not compare ids of tasks",
    "P-1.10.12": DIES,
    "P-1.10.14": f"the name is encoded, whatever it is: {DIES}",
    "P-1.11.6": "it asserts that there is a hub, which ends the process",
    "P-1.13.4": "it does not watch the executor (Parsl #3663)",
    "P-1.13.5": "it keeps Python's handler, whose KeyboardInterrupt ends the process",
}
