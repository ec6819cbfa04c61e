"""The endless way through an avatar's body loop: forwards and back over real frames, with turns and jumps that do not
show.

Every frame is followed by its neighbour in the recording, by its other neighbour where the path turns (at
`BodyTrack.turns`), or by a frame that looks like its neighbour (`BodyTrack.jumps`; video textures, Schödl et al. 2000).
Where these are was measured in training (`training.body_ways`). A state is a frame and a direction. From a state in a
strongly connected part of their graph the walk can always go on and always come back: it is taken in the part that has
most frames, made to end where it began, and repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from geneface.avatar.body_track import BodyTrack
from geneface.types import VIDEO_RATE_HZ

CYCLE_FRAMES = 600 * VIDEO_RATE_HZ
"""After about so many frames the walk repeats itself."""
_LEG_FRAMES = 3 * VIDEO_RATE_HZ
"""So long the path goes on before it turns or jumps where it need not."""
_CHANGE_SHARE = 0.3
"""Of the turns and jumps that it need not take it takes so many."""
_PATH_STREAM = 0xB0D1
"""Keeps the path apart from what else is drawn from the same seed."""
_Graph = list[list[int]]
"""Successors of each state. State 2 f is frame f forwards, 2 f + 1 backwards; going on comes first."""


def body_frames(track: BodyTrack, seed: int, start: int, stop: int) -> NDArray[np.int32]:
    """Which frame of the loop stands behind frames start to stop of a performance, a function of its seed.

    Returns:
        [stop - start] indices into the loop.
    """
    cycle = _cycle(track, seed)
    return cycle[np.arange(start, stop) % len(cycle)]


@lru_cache(maxsize=32)
def _cycle(track: BodyTrack, seed: int) -> NDArray[np.int32]:
    """A closed walk, [L] frames, that begins anywhere in it."""
    graph = _joined_part(_graph(track))
    states = [state for state, following in enumerate(graph) if following]
    rng = np.random.default_rng([seed, _PATH_STREAM])
    if not states:
        # A single frame, or a file that names no turns: its longest run, from end to end.
        return _to_and_fro(track.run)
    home = states[int(rng.integers(len(states)))]
    walk = list(_walk(graph, home, rng))
    return (np.array(walk, np.int32) // 2).astype(np.int32)


def _graph(track: BodyTrack) -> _Graph:
    frames, run = len(track), track.run
    graph: _Graph = [[] for _ in range(2 * frames)]
    for frame in range(frames - 1):
        if run[frame] == run[frame + 1]:
            graph[2 * frame].append(2 * frame + 2)
            graph[2 * frame + 3].append(2 * frame + 1)
    for frame in track.turns.tolist():
        if run[frame] == run[frame + 1]:
            graph[2 * frame + 2].append(2 * frame + 1)
            graph[2 * frame + 1].append(2 * frame + 2)
    for before, after in track.jumps.tolist():
        graph[2 * before].append(2 * after)
        graph[2 * after + 1].append(2 * before + 1)
    return graph


def _joined_part(graph: _Graph) -> _Graph:
    """The graph without what leaves the strongly connected part that shows most frames (Kosaraju's algorithm)."""
    backwards: _Graph = [[] for _ in graph]
    for state, following in enumerate(graph):
        for after in following:
            backwards[after].append(state)
    part = np.full(len(graph), -1)
    best, most = -1, 0
    finished = [state for tree in _trees(graph, range(len(graph))) for state in tree]
    for number, tree in enumerate(_trees(backwards, reversed(finished))):
        part[tree] = number
        # One state that does not lead to itself is no way on.
        shown = len({state // 2 for state in tree}) if len(tree) > 1 else 0
        if shown > most:
            best, most = number, shown
    return [
        [after for after in following if part[after] == best] if part[state] == best else []
        for state, following in enumerate(graph)
    ]


def _trees(graph: _Graph, order: Iterator[int] | range) -> Iterator[list[int]]:
    """Depth-first search from each state of an order: the states that each found first, in the order of finishing."""
    seen = [False] * len(graph)
    for root in order:
        if seen[root]:
            continue
        seen[root], tree, stack = True, list[int](), [(root, iter(graph[root]))]
        while stack:
            state, following = stack[-1]
            after = next((after for after in following if not seen[after]), None)
            if after is None:
                tree.append(state)
                stack.pop()
            else:
                seen[after] = True
                stack.append((after, iter(graph[after])))
        yield tree


def _walk(graph: _Graph, home: int, rng: np.random.Generator) -> Iterator[int]:
    """States from `home` until it would come again, after `CYCLE_FRAMES` by the shortest way."""
    state, leg = home, 0
    for _ in range(CYCLE_FRAMES):
        yield state
        following = graph[state]
        on = following[0] if abs(following[0] - state) == 2 and following[0] % 2 == state % 2 else None
        changes = following[1:] if on is not None else following
        wants = on is None or (leg >= _LEG_FRAMES and bool(changes) and rng.random() < _CHANGE_SHARE)
        if wants:
            state, leg = changes[int(rng.integers(len(changes)))], 0
        else:
            assert on is not None
            state, leg = on, leg + 1
    distance = _distances(graph, home)
    while state != home:
        yield state
        state = min(graph[state], key=distance.__getitem__)


def _distances(graph: _Graph, home: int) -> dict[int, int]:
    """Steps from each state to `home`, breadth first."""
    backwards: dict[int, list[int]] = {}
    for state, following in enumerate(graph):
        for after in following:
            backwards.setdefault(after, []).append(state)
    distance, front = {home: 0}, [home]
    while front:
        reached = [state for after in front for state in backwards.get(after, []) if state not in distance]
        for state in reached:
            distance.setdefault(state, 1 + min(distance[after] for after in graph[state] if after in distance))
        front = list(dict.fromkeys(reached))
    return distance


def _to_and_fro(run: NDArray[np.int32]) -> NDArray[np.int32]:
    number = np.bincount(run - run.min()).argmax() + run.min()
    frames = np.flatnonzero(run == number).astype(np.int32)
    return np.concatenate([frames, frames[-2:0:-1]])
