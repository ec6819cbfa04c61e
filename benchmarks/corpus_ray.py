"""Tracked clips a second on one Ray worker of this machine and on more: how far `corpus prepare --ray` scales.

    python benchmarks/corpus_ray.py FOLDER --clips 40 --rounds 3

FOLDER holds clips, as for `geneface corpus prepare`; their layout is recognised. A round starts a local cluster for
each number of workers, lets every worker track two clips, which loads its networks, and times the others. Needs the
extra [cluster], and as many idle cores as workers: what else runs is printed as the load. The processor's seconds a
clip (this process, Ray's and the workers', on Linux) say what more workers cost, whatever else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from geneface.corpus.cluster import open_cluster
from geneface.corpus.layouts import find_sources
from geneface.corpus.steps import TrackStep
from geneface.types import no_progress

WARM_CLIPS = 2


def processor_seconds() -> float:
    """That this process and all that descend from it have used; 0 where the system does not say."""
    used: dict[int, float] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # Behind the name, which may hold anything: state, parent, ...; user and system time are the 14th and 15th.
            fields = path.read_text().rpartition(")")[2].split()
            parents[int(path.parent.name)] = int(fields[1])
            used[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(used.get(process, 0.0) for process in ours)


def measure(folder: Path, workers: int, clips: int) -> tuple[float, float]:
    """Clips a second of one local cluster, and the processor's seconds that a clip took."""
    with tempfile.TemporaryDirectory() as out:
        steps = [TrackStep(source.name, (source.path,), Path(out)) for source in find_sources(folder)]
        warm = WARM_CLIPS * workers
        if len(steps) < warm + workers:
            raise SystemExit(f"{folder} has {len(steps)} clips: too few")
        with open_cluster("local", workers) as cluster:
            cluster.run(steps[:warm], "warm up", no_progress)
            timed = steps[warm : warm + clips]
            begin, used = time.perf_counter(), processor_seconds()
            reasons = cluster.run(timed, "track", no_progress)
            seconds, used = time.perf_counter() - begin, processor_seconds() - used
    unread = [reason for reason in reasons if reason]
    if unread:
        raise SystemExit(unread[0])
    return len(timed) / seconds, used / len(timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(measure(given.folder, given.workers[0], given.clips)))
        return
    rounds: dict[int, list[tuple[float, float]]] = {workers: [] for workers in given.workers}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before")
    for _ in range(given.rounds):
        # In turns, so that what else the machine does falls on all alike; a process each, because Ray is loaded once.
        for workers, found in rounds.items():
            command = [sys.executable, __file__, str(given.folder), "--once", "--clips", str(given.clips)]
            done = subprocess.run([*command, "--workers", str(workers)], stdout=subprocess.PIPE, text=True, check=True)
            found.append(tuple(json.loads(done.stdout)))
    print(f"load {os.getloadavg()[0]:.1f} after")
    first = statistics.median(rate for rate, _ in rounds[given.workers[0]])
    print("| workers | clips a second | times the first | processor s a clip |\n|---|---|---|---|")
    for workers, found in rounds.items():
        rates, costs = zip(*found, strict=True)
        middle = statistics.median(rates)
        spread = f"{min(rates):.2f} to {max(rates):.2f}"
        print(f"| {workers} | {middle:.2f} ({spread}) | {middle / first:.2f} | {statistics.median(costs):.2f} |")


if __name__ == "__main__":
    main()
