"""Tracked clips a second on one Ray worker of this machine and on more: how far `corpus prepare --ray` scales.

    python benchmarks/corpus_ray.py FOLDER --clips 40 --rounds 3

FOLDER holds clips, as for `geneface corpus prepare`; their layout is recognised. A round starts a local cluster for
each number of workers, lets every worker track two clips, which loads its networks, and times the others. Needs the
extra [cluster], and as many idle cores as workers: what else runs is printed as the load.
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
from pathlib import Path

from geneface.corpus.cluster import open_cluster
from geneface.corpus.layouts import find_sources
from geneface.corpus.steps import TrackStep
from geneface.types import no_progress

WARM_CLIPS = 2


def clips_per_second(folder: Path, workers: int, clips: int) -> float:
    """Of one local cluster."""
    with tempfile.TemporaryDirectory() as out:
        steps = [TrackStep(source.name, (source.path,), Path(out)) for source in find_sources(folder)]
        warm = WARM_CLIPS * workers
        if len(steps) < warm + workers:
            raise SystemExit(f"{folder} has {len(steps)} clips: too few")
        with open_cluster("local", workers) as cluster:
            cluster.run(steps[:warm], "warm up", no_progress)
            timed = steps[warm : warm + clips]
            begin = time.perf_counter()
            reasons = cluster.run(timed, "track", no_progress)
            seconds = time.perf_counter() - begin
    unread = [reason for reason in reasons if reason]
    if unread:
        raise SystemExit(unread[0])
    return len(timed) / seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.once:
        print(json.dumps(clips_per_second(given.folder, given.workers[0], given.clips)))
        return
    rates: dict[int, list[float]] = {workers: [] for workers in given.workers}
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores before")
    for _ in range(given.rounds):
        # In turns, so that what else the machine does falls on all alike; a process each, because Ray is loaded once.
        for workers, found in rates.items():
            command = [sys.executable, __file__, str(given.folder), "--once", "--clips", str(given.clips)]
            done = subprocess.run([*command, "--workers", str(workers)], capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout))
    first = statistics.median(rates[given.workers[0]])
    print("| workers | clips a second | times the first |\n|---|---|---|")
    for workers, found in rates.items():
        middle = statistics.median(found)
        print(f"| {workers} | {middle:.2f} ({min(found):.2f} to {max(found):.2f}) | {middle / first:.2f} |")


if __name__ == "__main__":
    main()
