"""What the clients that production code makes find around them: the world of this run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.faults import Faults
    from tests.simulation.world import World


@dataclass(slots=True)
class Scene:
    """A world, its cluster, and its faults."""

    world: World
    cluster: Cluster
    faults: Faults


_scenes: list[Scene] = []


def current() -> Scene:
    """Return the scene of this run."""
    return _scenes[-1]


def enter(scene: Scene) -> None:
    """Begin a run."""
    _scenes.append(scene)


def leave() -> None:
    """End a run."""
    _scenes.pop()
