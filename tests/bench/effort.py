"""Owns how much a run of the benchmarks does: rounds, seconds and sizes, from the environment; read by all of them."""

from __future__ import annotations

import os

QUICK = os.environ.get("BENCH_QUICK", "") not in ("", "0")
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "1" if QUICK else "5"))
SECONDS = float(os.environ.get("BENCH_SECONDS", "2" if QUICK else "8"))
WARMUP_S = float(os.environ.get("BENCH_WARMUP_S", "1" if QUICK else "3"))
PROPERTIES = int(os.environ.get("BENCH_PROPERTIES", "2000" if QUICK else "100000"))
MANY_RANGES = 10
"""How many times as many ranges the large ledger has: one per property, and this many."""
# 1M rows of backlog is the aim's size (BENCH_BACKLOG=1000000); one round of it takes minutes.
BACKLOG = int(os.environ.get("BENCH_BACKLOG", "20000" if QUICK else "200000"))
KEYS = int(os.environ.get("BENCH_KEYS", "1000" if QUICK else "10000"))
# Properties of a replica that starts; a million of them take hours from the topics (BENCH_REBUILT=1000000).
REBUILT = [int(size) for size in os.environ.get("BENCH_REBUILT", "200" if QUICK else "1000,10000").split(",")]
TAIL = int(os.environ.get("BENCH_TAIL", "400" if QUICK else "10000"))
"""Changes that a snapshot file does not contain."""
# Properties that are searched; a million take an hour to fill (BENCH_SEARCHED=1000000).
SEARCHED = [int(size) for size in os.environ.get("BENCH_SEARCHED", "2000" if QUICK else "1000,10000,100000").split(",")]
QUESTIONS = int(os.environ.get("BENCH_QUESTIONS", "40" if QUICK else "200"))
"""Searches of one round."""
# Properties of which the memory is measured; a million take a quarter of an hour a case (BENCH_FILLED=1000000).
FILLED = [int(size) for size in os.environ.get("BENCH_FILLED", "2000" if QUICK else "10000,100000").split(",")]
SETTINGS = {
    "BENCH_QUICK",
    "BENCH_ROUNDS",
    "BENCH_SECONDS",
    "BENCH_WARMUP_S",
    "BENCH_PROPERTIES",
    "BENCH_BACKLOG",
    "BENCH_KEYS",
    "BENCH_REBUILT",
    "BENCH_TAIL",
    "BENCH_SEARCHED",
    "BENCH_FILLED",
    "BENCH_QUESTIONS",
}


def command() -> str:
    """How to run this again."""
    given = [f"{name}={os.environ[name]}" for name in sorted(SETTINGS & os.environ.keys())]
    return " ".join(["make bench", *given])
