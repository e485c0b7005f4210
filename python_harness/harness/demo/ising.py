"""The demo's computation: the two-dimensional Ising model near its phase transition.

Spins on a periodic square lattice are coupled to their four neighbours with J = k_B = 1. Wolff's
cluster algorithm moves whole domains, so that a short run reaches equilibrium even at the critical
temperature, which Onsager found exactly: T_c = 2 / ln(1 + sqrt(2)) = 2.269... The code is pure
Python, so that a worker needs nothing but Parsl.
"""

from __future__ import annotations

import math
import os
import random
import socket
from dataclasses import dataclass

CRITICAL_TEMPERATURE = 2 / math.log(1 + math.sqrt(2))

# Spins along one side of the lattice.
SIDE = 20


@dataclass
class Sample:
    """Moments of the magnetisation per spin over one run, and where the run took place."""

    temperature: float
    seed: int
    magnetisation: float
    magnetisation_squared: float
    host: str
    manager: str
    worker_pid: int


def simulate(temperature: float, seed: int, side: int = SIDE, clusters: int = 600) -> Sample:
    """Simulates one Markov chain; its first quarter is discarded as warm-up."""
    generator = random.Random(seed)
    spins = [1] * (side * side)
    neighbours = _neighbours(side)
    join = 1 - math.exp(-2 / temperature)
    total, first, second, taken = side * side, 0.0, 0.0, 0
    for step in range(clusters):
        total += _flip_cluster(spins, neighbours, join, generator)
        if step >= clusters // 4:
            magnetisation = abs(total) / (side * side)
            first += magnetisation
            second += magnetisation**2
            taken += 1
    return Sample(
        temperature,
        seed,
        first / taken,
        second / taken,
        socket.gethostname(),
        os.environ.get("PARSL_WORKER_POOL_ID", "-"),
        os.getpid(),
    )


def _neighbours(side: int) -> list[tuple[int, int, int, int]]:
    return [
        (
            row * side + (column + 1) % side,
            row * side + (column - 1) % side,
            (row + 1) % side * side + column,
            (row - 1) % side * side + column,
        )
        for row in range(side)
        for column in range(side)
    ]


def _flip_cluster(spins, neighbours, join: float, generator: random.Random) -> int:
    """Flips one Wolff cluster; returns the change of the sum over all spins."""
    seed = generator.randrange(len(spins))
    spin = spins[seed]
    spins[seed] = -spin
    frontier, flipped = [seed], 1
    while frontier:
        for site in neighbours[frontier.pop()]:
            if spins[site] == spin and generator.random() < join:
                spins[site] = -spin
                frontier.append(site)
                flipped += 1
    return -2 * spin * flipped


@dataclass
class Point:
    """The mean |m| and the susceptibility per spin at one temperature."""

    temperature: float
    magnetisation: float
    susceptibility: float


def curve(samples: list[Sample], side: int = SIDE) -> list[Point]:
    """Averages over the seeds of each temperature, in order of temperature."""
    groups: dict[float, list[Sample]] = {}
    for sample in samples:
        groups.setdefault(sample.temperature, []).append(sample)
    points = []
    for temperature, group in sorted(groups.items()):
        mean = sum(sample.magnetisation for sample in group) / len(group)
        square = sum(sample.magnetisation_squared for sample in group) / len(group)
        fluctuation = (square - mean**2) * side * side / temperature
        points.append(Point(temperature, mean, fluctuation))
    return points


def sensible(points: list[Point]) -> list[str]:
    """Returns what is wrong with the physics: there must be order below, disorder above, and a peak
    in between. On a small lattice the peak lies a little above T_c, by about T_c / side."""
    peak = max(points, key=lambda point: point.susceptibility)
    faults = []
    if not 0 <= peak.temperature - CRITICAL_TEMPERATURE + 0.1 < 0.5:
        faults.append(f"the susceptibility peaks at T = {peak.temperature:.2f}")
    if points[0].magnetisation < 0.9:
        faults.append(f"no order at the lowest temperature: |m| = {points[0].magnetisation:.2f}")
    if points[-1].magnetisation > 0.4:
        faults.append(f"order at the highest temperature: |m| = {points[-1].magnetisation:.2f}")
    return faults
