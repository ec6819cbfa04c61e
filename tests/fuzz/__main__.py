"""`make fuzz`: random calls of every public function of `geneface.ops`.

A call must return what it documents or raise TypeError, ValueError or MemoryError; right arguments must be accepted.
The calls are made in a child, whose crash or hang is reported here with the call that caused it. Every case has
random numbers of its own, so that it can be repeated alone.
"""

from __future__ import annotations

import argparse
import faulthandler
import itertools
import os
import resource
import secrets
import signal
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from pathlib import Path

import numpy as np

from geneface import ops

from .draw import Draw
from .fuzzers import FUZZERS

MEMORY_BYTES = 3 * 10**9
"""What a child may allocate beyond what it has when it starts."""
HANG_SECONDS = 120
TRACE_BYTES = 80


def run_case(name: str, seed: int, case: int) -> bool:
    """One call, on one of the instruction sets and by one to three threads; false if it was refused."""
    sets = ops.available_instruction_sets()
    ops.use_instruction_set(sets[case % len(sets)])
    ops.set_threads(1 + case % 3)
    draw = Draw(np.random.default_rng([seed, zlib.crc32(name.encode()), case]))
    fuzzer = FUZZERS[name]
    try:
        given = fuzzer.arguments(draw)
        spoil = bool(given) and draw.chance(0.5)
        if spoil:
            place = draw.choice(list(given))
            given[place] = draw.spoiled(given[place])
    except MemoryError:
        return False
    try:
        result = fuzzer.function(**given)
    except MemoryError:
        return False
    except (TypeError, ValueError) as refusal:
        if not spoil:
            raise AssertionError("right arguments were refused") from refusal
        return False
    fuzzer.check(result, given)
    return True


def limit_memory() -> None:
    """Huge arguments shall raise MemoryError, not occupy the machine. Counts address space, because sanitizers have
    reserved terabytes of it already; where the system does not tell how much is in use, there is no limit."""
    statistics = Path("/proc/self/statm")
    if statistics.exists():
        used = int(statistics.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, used + MEMORY_BYTES))


def work(options: argparse.Namespace, trace: int) -> int:
    """The child: calls until time or cases are over; 1 after a wrong outcome."""
    faulthandler.enable()
    warnings.simplefilter("ignore")  # numpy's, about numbers that become infinite in float32
    limit_memory()
    calls = dict.fromkeys(options.only or FUZZERS, 0)
    accepted = dict(calls)
    deadline = time.monotonic() + options.seconds if options.seconds else None
    for case in itertools.count(options.start):
        if case - options.start >= options.cases if deadline is None else time.monotonic() > deadline:
            break
        for name in calls:
            os.pwrite(trace, f"{name} {case}".ljust(TRACE_BYTES).encode(), 0)
            signal.alarm(HANG_SECONDS)
            try:
                accepted[name] += run_case(name, options.seed, case)
            except BaseException:
                traceback.print_exc()
                return 1
            calls[name] += 1
    for name, count in calls.items():
        print(f"{name:28} {count:6} calls, {accepted[name]:6} accepted")
    return 0


def parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, help="how long; instead of --cases")
    parser.add_argument("--cases", type=int, default=300, help="how many calls of each function")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32), help="random by default, and printed")
    parser.add_argument("--only", nargs="+", choices=sorted(FUZZERS), help="these functions")
    parser.add_argument("--start", type=int, default=0, help="number of the first case")
    return parser.parse_args()


def main() -> int:
    options = parse_options()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryFile() as trace:
        child = os.fork()
        if child == 0:
            code = work(options, trace.fileno())
            sys.stdout.flush()
            os._exit(code)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:
            return 0
        name, case = os.pread(trace.fileno(), TRACE_BYTES, 0).decode().split()
    ends = {1: "wrong outcome", -signal.SIGALRM: f"no answer in {HANG_SECONDS} s"}
    print(f"{name}: {ends.get(code, f'crash, exit code {code}')}; again by:")
    print(f"  make fuzz FUZZ='--seed {options.seed} --only {name} --start {case} --cases 1'")
    return 1


if __name__ == "__main__":
    sys.exit(main())
