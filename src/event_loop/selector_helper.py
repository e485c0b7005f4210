"""Runs a user's manager selector for htex-interchange, which does not run Python itself.

Messages over standard input and output: eight bytes of length, little-endian, then a pickle. The
first is the start-up configuration; each later one is a question, and gets one answer.
"""

import contextlib
import ctypes
import os
import pickle
import struct
import traceback

with contextlib.suppress(Exception):
    # End with the interchange, also while the selector is at work: PR_SET_PDEATHSIG, SIGKILL.
    ctypes.CDLL(None).prctl(1, 9)

questions = os.fdopen(os.dup(0), "rb")
answers = os.fdopen(os.dup(1), "wb")
# What the selector prints must not stand between the answers.
os.dup2(2, 1)
os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


def receive():
    head = questions.read(8)
    body = questions.read(struct.unpack("<Q", head)[0]) if len(head) == 8 else b""
    if not body:
        os._exit(0)
    return pickle.loads(body)


def answer(number, managers, error):
    body = pickle.dumps((number, managers, error), protocol=4)
    answers.write(struct.pack("<Q", len(body)) + body)
    answers.flush()


try:
    selector = receive()["manager_selector"]
except BaseException:
    answer(0, None, traceback.format_exc())
    os._exit(1)
answer(0, [], None)

records = {}
while True:
    question = receive()
    for manager in question["gone"]:
        records.pop(manager, None)
    records.update(question["joined"])
    for manager, changed in question["changed"].items():
        records[manager].update(changed)
    try:
        ordered = selector.sort_managers(records, set(question["candidates"]))
        answer(question["number"], [bytes(manager) for manager in ordered], None)
    except Exception:
        answer(question["number"], None, traceback.format_exc())
