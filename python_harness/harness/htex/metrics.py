"""Reads an interchange's metrics with Prometheus's own parser."""

from __future__ import annotations

import urllib.parse
import urllib.request

from prometheus_client.openmetrics.parser import text_string_to_metric_families

PREFIX = "htex_interchange_"
CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


def address_of(side) -> str:
    side.interchange.wait_for_log("Serving metrics at ")
    line = side.interchange.log_lines("INFO", "Serving metrics at ")[0]
    return line.split("Serving metrics at ")[1].split(",")[0]


def read(side, path: str = "/metrics"):
    url = urllib.parse.urlunsplit(("http", address_of(side), path, "", ""))
    return urllib.request.urlopen(url, timeout=10)


def samples(side) -> dict:
    """Returns samples by name and labels; the parser also checks names, units, types and the
    end."""
    with read(side) as page:
        assert page.headers["Content-Type"] == CONTENT_TYPE
        families = list(text_string_to_metric_families(page.read().decode()))
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def values(side) -> dict:
    """Returns htex-interchange's metrics without labels, by their names without the prefix."""
    return {
        key[0].removeprefix(PREFIX): value
        for key, value in samples(side).items()
        if len(key) == 1 and key[0].startswith(PREFIX)
    }
