"""Numbers about a running server, as Prometheus reads them (text format 0.0.4).

Whoever has something to count does so through the context: `context.metrics.count("frames")`,
`context.metrics.observe("lateness_seconds", 0.004)`; what can be asked for at any time is set once:
`context.metrics.watch("sessions", lambda: len(sessions))`. A new number is a line of `KINDS`. Any thread may call.
"""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple

from geneface.serve.process_numbers import process_numbers

Labels = tuple[tuple[str, str], ...]


class _Kind(NamedTuple):
    type: Literal["counter", "gauge", "histogram"]
    help: str
    label: str = ""
    """Of what is watched with several values."""


KINDS: Mapping[str, _Kind] = {
    "sessions": _Kind("gauge", "Live sessions that are open."),
    "frames": _Kind("counter", "Frames sent to listeners of live sessions."),
    "repeats": _Kind("counter", "Frames that came too late: the previous picture was sent again."),
    "lateness_seconds": _Kind("histogram", "From when a frame was due to when it was handed to its connection."),
    "first_sound_seconds": _Kind("histogram", "From a text to say to the first frame that speaks it."),
    "jobs": _Kind("gauge", "Jobs that are kept, by state.", "state"),
    "queued_jobs": _Kind("gauge", "Jobs that wait for a worker."),
    "connections": _Kind("gauge", "Open connections."),
    "requests": _Kind("counter", "Requests that were answered, by method and status."),
    "refused": _Kind("counter", "Requests that were refused at the door, by error code."),
    "request_seconds": _Kind("histogram", "From a request to the end of its answer."),
}
BUCKETS = (0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of histograms, seconds."""


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._counts: dict[str, dict[Labels, float]] = {
            name: {} if kind.label or name in ("requests", "refused") else {(): 0.0}
            for name, kind in KINDS.items()
            if kind.type == "counter"
        }
        self._observed = {name: _Histogram() for name, kind in KINDS.items() if kind.type == "histogram"}
        self._watched: dict[str, Callable[[], float | Mapping[str, float]]] = {}

    def count(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter.

        Raises:
            KeyError: no counter of that name in `KINDS`.
        """
        key = tuple(sorted(labels.items()))
        with self._turn:
            values = self._counts[name]
            values[key] = values.get(key, 0.0) + amount

    def observe(self, name: str, seconds: float) -> None:
        """Add a measurement to a histogram.

        Raises:
            KeyError: no histogram of that name in `KINDS`.
        """
        with self._turn:
            self._observed[name].add(seconds)

    def watch(self, name: str, value: Callable[[], float | Mapping[str, float]]) -> None:
        """Say where a gauge's value comes from; a mapping has a value for each of its label.

        Raises:
            KeyError: no gauge of that name in `KINDS`.
        """
        if KINDS[name].type != "gauge":
            raise KeyError(name)
        with self._turn:
            self._watched[name] = value

    def text(self) -> str:
        """All of them."""
        lines = []
        with self._turn:
            watched = dict(self._watched)
            for name, values in self._counts.items():
                lines += _head(f"geneface_{name}_total", KINDS[name].type, KINDS[name].help)
                lines += [_line(f"geneface_{name}_total", labels, value) for labels, value in sorted(values.items())]
            for name, histogram in self._observed.items():
                lines += _head(f"geneface_{name}", "histogram", KINDS[name].help)
                lines += histogram.lines(f"geneface_{name}")
        # Outside of the lock: they may ask others who count.
        for name, ask in sorted(watched.items()):
            lines += _head(f"geneface_{name}", "gauge", KINDS[name].help)
            value = ask()
            values = (
                {((KINDS[name].label, key),): v for key, v in value.items()}
                if isinstance(value, Mapping)
                else {(): value}
            )
            lines += [_line(f"geneface_{name}", labels, number) for labels, number in sorted(values.items())]
        for name, kind, about, number in process_numbers():
            lines += [*_head(name, kind, about), _line(name, (), number)]
        return "\n".join(lines) + "\n"


class _Histogram:
    def __init__(self) -> None:
        self._counts: dict[int, int] = defaultdict(int)
        self._sum = 0.0

    def add(self, value: float) -> None:
        self._counts[bisect_left(BUCKETS, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        lines, total = [], 0
        for i, bound in enumerate((*BUCKETS, float("inf"))):
            total += self._counts[i]
            lines.append(_line(f"{name}_bucket", (("le", "+Inf" if bound == float("inf") else f"{bound:g}"),), total))
        return [*lines, _line(f"{name}_sum", (), self._sum), _line(f"{name}_count", (), total)]


def _head(name: str, kind: str, about: str) -> list[str]:
    return [f"# HELP {name} {about}", f"# TYPE {name} {kind}"]


def _line(name: str, labels: Labels, value: float) -> str:
    inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
    return f"{name}{{{inner}}} {_number(value)}" if inner else f"{name} {_number(value)}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
