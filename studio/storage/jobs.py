"""Jobs on disk: what was asked for, in which order, and how it ended. Survives a restart and a crash."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from pydantic import ValidationError

from studio.core.base import BlobId
from studio.core.events import Event, Failed, Log, event
from studio.core.jobs import ENDED, JobState, JobView
from studio.core.requests import InstallRequest, JobRequest, job_request
from studio.storage.database import Database

_SCHEMA = (
    """
    CREATE TABLE jobs (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        request TEXT NOT NULL,
        created TEXT NOT NULL,
        started TEXT,
        ended TEXT,
        images TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX jobs_by_state ON jobs (state, place);
    CREATE TABLE job_events (
        job TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
        number INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (job, number)
    );
    """,
    "ALTER TABLE jobs ADD COLUMN blobs TEXT NOT NULL DEFAULT '';",
    "ALTER TABLE jobs ADD COLUMN dismissed INTEGER NOT NULL DEFAULT 0;",
    "ALTER TABLE jobs ADD COLUMN pace REAL;",
)


@dataclass(frozen=True)
class Pace:
    """How long a finished job took, once its first step was done."""

    request: JobRequest
    seconds: float


class JobStore:
    """The table of jobs. Every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.migrate("jobs", _SCHEMA)

    def add(self, job: JobView) -> None:
        """Raises: DiskFull; sqlite3.IntegrityError where the id is taken."""
        with self._database.transaction() as connection:
            connection.execute(
                "INSERT INTO jobs (id, state, request, created) VALUES (?, ?, ?, ?)",
                (job.id, job.state, job.request.model_dump_json(), job.created.isoformat()),
            )

    def update(self, job: JobView, happened: Event | None = None, pace: float | None = None) -> None:
        """Write a job's new state, together with the event that tells of it.

        Args:
            pace: of a finished job: seconds from its first step to its end.
        """
        with self._database.transaction() as connection:
            connection.execute(
                "UPDATE jobs SET state = ?, started = ?, ended = ?, images = ?, blobs = ?,"
                " pace = coalesce(?, pace) WHERE id = ?",
                (
                    job.state,
                    _iso(job.started),
                    _iso(job.ended),
                    " ".join(job.images),
                    " ".join(job.blobs),
                    pace,
                    job.id,
                ),
            )
            if happened:
                _insert_event(connection, job.id, happened)

    def set_dismissed(self, job_id: str, dismissed: bool) -> None:
        with self._database.transaction() as connection:
            connection.execute("UPDATE jobs SET dismissed = ? WHERE id = ?", (dismissed, job_id))

    def add_event(self, job_id: str, happened: Event) -> None:
        with self._database.transaction() as connection:
            _insert_event(connection, job_id, happened)

    def find(self, job_id: str) -> JobView | None:
        row = self._database.connect().execute("SELECT * FROM jobs WHERE id = ?", (job_id,)).fetchone()
        return self._view(row) if row else None

    def events(self, job_id: str) -> list[Event]:
        """The durable events: all but progress and previews."""
        rows = self._database.connect().execute(
            "SELECT event FROM job_events WHERE job = ? ORDER BY number", (job_id,)
        )
        return [event.validate_json(row["event"]) for row in rows]

    def unfinished(self) -> list[JobView]:
        """Waiting and running jobs, in order. Those that cannot be read any more are marked as failed."""
        unfinished = "state IN ('queued', 'running') ORDER BY place"
        jobs = self._select(unfinished)
        readable = {job.id for job in jobs}
        rows = self._database.connect().execute(f"SELECT id FROM jobs WHERE {unfinished}").fetchall()
        with self._database.transaction() as connection:
            for row in rows:
                if row["id"] not in readable:
                    connection.execute("UPDATE jobs SET state = 'failed' WHERE id = ?", (row["id"],))
        return jobs

    def ended(self, limit: int) -> list[JobView]:
        """The jobs that ended last, newest first."""
        return self._select(
            "state NOT IN ('queued', 'running') ORDER BY ended DESC, place DESC LIMIT ?", limit
        )

    def blobs(self) -> frozenset[BlobId]:
        """The pictures that jobs need which wait, run, or were interrupted and may be tried again."""
        jobs = self._select("state IN ('queued', 'running', 'interrupted') AND NOT dismissed")
        requests = [job.request for job in jobs if not isinstance(job.request, InstallRequest)]
        return frozenset(blob_id for request in requests for blob_id in request.blobs)

    def paces(self, limit: int = 50) -> list[Pace]:
        """How long the last finished jobs took, newest first."""
        rows = self._database.connect().execute(
            "SELECT * FROM jobs WHERE pace IS NOT NULL ORDER BY place DESC LIMIT ?", (limit,)
        )
        both = ((self._view(row), row["pace"]) for row in rows.fetchall())
        return [Pace(job.request, seconds) for job, seconds in both if job]

    def _select(self, condition: str, *values: object) -> list[JobView]:
        rows = self._database.connect().execute(f"SELECT * FROM jobs WHERE {condition}", values)
        return [job for job in map(self._view, rows.fetchall()) if job]

    def _view(self, row: sqlite3.Row) -> JobView | None:
        """None for a job whose request another version of Easel wrote and this one cannot read."""
        try:
            request = job_request.validate_json(row["request"])
        except ValidationError:
            return None
        state = JobState(row["state"])
        events = self.events(row["id"]) if state is not JobState.QUEUED else []
        return JobView(
            id=row["id"],
            state=state,
            request=request,
            created=datetime.fromisoformat(row["created"]),
            started=_datetime(row["started"]),
            ended=_datetime(row["ended"]),
            images=tuple(row["images"].split()),
            blobs=tuple(row["blobs"].split()),
            failure=_last_failure(events) if state in ENDED else None,
            notes=tuple(one.message for one in events if isinstance(one, Log)),
            dismissed=bool(row["dismissed"]),
        )


def _last_failure(events: Iterable[Event]) -> Failed | None:
    return next((e for e in reversed(list(events)) if isinstance(e, Failed)), None)


def _insert_event(connection: sqlite3.Connection, job_id: str, happened: Event) -> None:
    connection.execute(
        "INSERT INTO job_events (job, number, event) VALUES (?, ?, ?)",
        (job_id, happened.number, happened.model_dump_json()),
    )


def now() -> datetime:
    """With the time zone, as everything stored has it."""
    return datetime.now(timezone.utc)


def _iso(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None


def _datetime(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
