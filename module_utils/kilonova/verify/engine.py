"""Rows and the order they run in: side by side where nothing stands between them."""

from __future__ import annotations

import concurrent.futures
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field, replace

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


class Skip(Exception):
    """The row cannot be judged here; the text says why."""


class Failure(Exception):
    """The cloud did not do what the row asks; `details` go into the report."""

    def __init__(self, text: str, **details):
        """Keep the details beside the text."""
        super().__init__(text)
        self.details = details


class Stopped(Exception):
    """The run was told to end."""


@dataclass(frozen=True)
class Row:
    """One line of the verification."""

    name: str
    title: str
    run: Callable
    # Rows that must have passed, and rows that must only have ended (they use the same server).
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    # Rows that run although others failed or the run was stopped, because they remove what was made.
    always: bool = False


@dataclass
class Outcome:
    """How a row went."""

    name: str
    title: str
    status: str
    seconds: float = 0.0
    started: float = 0.0
    detail: str = ""
    reason: str = ""
    extra: dict = field(default_factory=dict)

    def as_dict(self) -> dict:
        """Plain data for the report."""
        plain = {key: getattr(self, key) for key in ("name", "title", "status", "detail", "reason")}
        return {**plain, "started": round(self.started, 2), "seconds": round(self.seconds, 2), **self.extra}


def check(rows: list[Row]) -> None:
    """Raise ValueError when a row names one that does not stand before it: so there is no circle either."""
    seen: set[str] = set()
    for row in rows:
        if row.name in seen:
            raise ValueError(f"two rows are called {row.name}")
        unknown = [name for name in (*row.needs, *row.after) if name not in seen]
        if unknown:
            raise ValueError(f"row {row.name} names {', '.join(unknown)}, which no row before it is called")
        seen.add(row.name)


def pick(rows: list[Row], names: list[str]) -> list[Row]:
    """The named rows with all that they need, in their order; all of them when no name is given."""
    check(rows)
    known = {row.name: row for row in rows}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"no such row: {', '.join(unknown)}; there are {', '.join(known)}")
    wanted: set[str] = set()
    pending = [*(names or known), *(row.name for row in rows if row.always)]
    while pending:
        name = pending.pop()
        if name not in wanted:
            wanted.add(name)
            pending += known[name].needs
    # A row that stays away must not take the order of those around it along: they use the same servers.
    before = ancestors(rows)
    order = {name: tuple(other for other in known if other in before[name] & wanted) for name in wanted}
    return [replace(row, after=order[row.name]) for row in rows if row.name in wanted]


def ancestors(rows: list[Row]) -> dict[str, set[str]]:
    """All rows that each row waits for, near and far."""
    found: dict[str, set[str]] = {}
    for row in rows:
        near = {*row.needs, *row.after}
        found[row.name] = near.union(*(found[name] for name in near))
    return found


def obstacle(row: Row, outcomes: dict[str, Outcome]) -> str:
    """Why a row whose turn has come cannot run, or nothing."""
    for need in row.needs:
        outcome = outcomes.get(need)
        if outcome and outcome.status != PASSED:
            # The first cause is what a reader wants, not the chain.
            return (
                outcome.extra.get("because") or f"needs {need}, which {'failed' if outcome.status == FAILED else 'was skipped'}"
            )
    return ""


class Runner:
    """Run rows, each as soon as what it waits for has ended."""

    def __init__(self, rows: list[Row], threads: int = 8, on_change: Callable = lambda runner: None):
        """Take rows, as `pick` returns them."""
        self.rows, self.threads, self.on_change = rows, threads, on_change
        self.outcomes: dict[str, Outcome] = {}
        self.running: dict[str, float] = {}
        self.stop = threading.Event()
        self.began = time.monotonic()

    def ready(self) -> list[Row]:
        """Rows whose turn has come."""
        names = {row.name for row in self.rows}
        return [
            row
            for row in self.rows
            if row.name not in self.outcomes
            and row.name not in self.running
            and all(name in self.outcomes for name in (*row.needs, *row.after) if name in names)
        ]

    def run(self, context) -> list[Outcome]:
        """Run all rows with `row.run(context)`; returns their outcomes in the rows' order."""
        futures: dict[concurrent.futures.Future, Row] = {}
        with concurrent.futures.ThreadPoolExecutor(max_workers=self.threads) as pool:
            while len(self.outcomes) < len(self.rows):
                for row in self.ready():
                    reason = "" if row.always else obstacle(row, self.outcomes)
                    if self.stop.is_set() and not row.always:
                        reason = reason or "the run was stopped"
                    if reason:
                        self.record(Outcome(row.name, row.title, SKIPPED, reason=reason, extra={"because": reason}))
                        continue
                    self.running[row.name] = time.monotonic() - self.began
                    futures[pool.submit(self.one, row, context)] = row
                self.on_change(self)
                if not futures:
                    continue
                done, _rest = concurrent.futures.wait(futures, timeout=1.0, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in done:
                    row = futures.pop(future)
                    self.running.pop(row.name)
                    self.record(future.result())
        self.on_change(self)
        return [self.outcomes[row.name] for row in self.rows]

    def record(self, outcome: Outcome) -> None:
        """Keep how a row went."""
        self.outcomes[outcome.name] = outcome

    def one(self, row: Row, context) -> Outcome:
        """Run one row in this thread."""
        outcome = Outcome(row.name, row.title, PASSED, started=time.monotonic() - self.began)
        context.begin(row)
        try:
            outcome.detail = row.run(context) or ""
        except Skip as skip:
            outcome.status, outcome.reason = SKIPPED, str(skip)
        except Stopped:
            outcome.status, outcome.reason = SKIPPED, "the run was stopped"
        except Failure as failure:
            outcome.status, outcome.reason, outcome.extra = FAILED, str(failure), dict(failure.details)
        except Exception as error:  # a row must not take the others, or the removal, with it
            outcome.status, outcome.reason = FAILED, f"{type(error).__name__}: {error}"
            outcome.extra = {"traceback": traceback.format_exc().splitlines()[-12:]}
        outcome.seconds = time.monotonic() - self.began - outcome.started
        context.end(row, outcome)
        return outcome
