"""Records the messages that Parsl's processes send to an interchange.

Python imports this module at its start wherever this folder is on PYTHONPATH: in the submit
process, in managers and in workers. Each shape of message is written to one file in the folder that
HTEX_RECORD_TO names. The file holds the message's frames in the format of `harness/fuzz/seeds.py`.
Nothing else is changed.
"""

import contextlib
import os
import pickle
import struct

BYTES_MAX = 4096


def shape_of(kind, frames):
    """Returns a name for the message's shape, or None if the message is not worth recording."""
    if kind == "REQ":
        request = pickle.loads(frames[0])
        return "command-" + (request.partition(";")[0] if isinstance(request, str) else request[0])
    message = pickle.loads(frames[-1])
    if not isinstance(message, dict):
        return None
    size = sum(map(len, frames)).bit_length()
    if "buffer" in message:
        context = "context" in message and sorted(message["context"].get("resource_spec", ()))
        return f"task-{context}-{size}"
    if "type" in message:
        name = "marked" if len(frames) > 1 else "message"
        outcome = "exception" if "exception" in message else ""
        return f"{name}-{message['type']}{outcome}-{size}"
    return None


def keep(folder, kind, frames):
    if sum(map(len, frames)) > BYTES_MAX or kind not in ("REQ", "DEALER"):
        return
    try:
        shape = shape_of(kind, frames)
    except Exception:
        return  # The message is not for an interchange.
    if shape is None:
        return
    name = "".join(c if c.isalnum() else "-" for c in shape)
    try:
        with open(os.path.join(folder, name), "xb") as file:
            file.writelines(struct.pack("<H", len(frame)) + frame for frame in frames)
    except FileExistsError:
        pass


def install(folder):
    import zmq

    send, begun = zmq.Socket.send, {}

    def kept(self, data, flags=0, *args, **kwargs):
        frames = begun.setdefault(id(self), [])
        frames.append(bytes(data))
        if not flags & zmq.SNDMORE:
            keep(folder, zmq.SocketType(self.type).name, begun.pop(id(self)))
        return send(self, data, flags, *args, **kwargs)

    zmq.Socket.send = kept


if os.environ.get("HTEX_RECORD_TO"):
    # Another Python than the release's may lack pyzmq.
    with contextlib.suppress(ImportError):
        install(os.environ["HTEX_RECORD_TO"])
