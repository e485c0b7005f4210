"""Tells `htex-interchange enable` where this Python reads .pth files: one line of JSON, with paths
byte for byte, as not every one is UTF-8."""

import sys

has_site = "site" in sys.modules
# The current directory is of no concern.
if sys.path[:1] == [""]:
    del sys.path[0]

import json  # noqa: E402
import os  # noqa: E402
import site  # noqa: E402
import sysconfig  # noqa: E402


def path(place):
    return list(os.fsencode(os.path.abspath(place)))


def turn(place):
    """Those that are not there yet would come last."""
    return sys.path.index(place) if place in sys.path else len(sys.path)


user = site.getusersitepackages() if site.ENABLE_USER_SITE else None
places = [*([user] if user else []), *site.getsitepackages()] if has_site else []
answer = {
    "version": "{}.{}.{}".format(*sys.version_info),
    "purelib": path(sysconfig.get_path("purelib")),
    "user": path(user) if user else None,
    "places": [path(place) for place in sorted(places, key=turn)],
}
print("\n" + json.dumps(answer))
