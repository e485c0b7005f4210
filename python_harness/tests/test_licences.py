"""The licences of everything inside the program, in one text that goes out with it."""

from __future__ import annotations

import pytest

from harness.publish import crates, licences

pytestmark = pytest.mark.ours_only("this is about our own package")

# Compiles a tool with 160 crates on first use.
TOOL_S = 2400


def test_every_crate_inside_has_its_licence_and_no_other():
    assert licences.problems(licences.FILE.read_text(), licences.external()) == []


def test_a_missing_licence_is_found():
    text, linked = licences.FILE.read_text(), licences.external()
    new = crates.Crate("new-crate", "1.0.0", "MIT", "0" * 64)
    assert licences.problems(text, [*linked, new]) == [
        "new-crate 1.0.0 is not in the list",
        "new-crate 1.0.0 is not with a text",
    ]
    gone = linked[0]
    named = f"{gone.name} {gone.version}"
    assert licences.problems(text, linked[1:]) == [
        f"{named} is in the list, but not linked any more",
        f"{named} is with a text, but not linked any more",
    ]


@pytest.mark.long
@pytest.mark.timeout(TOOL_S)
def test_the_licences_are_those_that_the_tool_finds():
    assert licences.made() == licences.FILE.read_text(), "python3 python_harness licences"
