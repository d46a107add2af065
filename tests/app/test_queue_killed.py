"""The program is killed at any moment: no job that was accepted is lost, none runs twice unasked."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from studio.app.queue import JobQueue, Made
from studio.app.studio import build_studio
from studio.app.worker import Worker
from studio.core.events import Finished
from studio.core.jobs import JobState
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.jobs import JobStore

KILLS = 8

PROGRAM = """
import itertools, os, pathlib, sys, time
from studio.app.queue import JobQueue, Made
from studio.app.worker import Worker
from studio.core.events import Log
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.jobs import JobStore

settings = Settings(data_dir=pathlib.Path(sys.argv[1]), max_queue=100_000)
queue = JobQueue(JobStore(Database(settings.database)), settings)

def say(verb, job_id):  # one write, so that the threads' lines do not mix
    os.write(1, f"{verb} {job_id}\\n".encode())

def runner(job, context):
    say("ran", job.id)
    context.emit(Log(message="half way"))
    time.sleep(0.002)
    return Made((f"image-of-{job.id}",))

Worker(queue, "gpu", runner).start()
for seed in itertools.count():
    say("accepted", queue.submit(GenerateRequest(model="toy", seed=seed)).id)
"""


PAINTER = """
import itertools, os, pathlib, sys, threading
from PIL import Image
from studio.app.queue import JobQueue, Made
from studio.app.worker import Worker
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.jobs import JobStore
from studio.storage.library import Library

settings = Settings(data_dir=pathlib.Path(sys.argv[1]))
database = Database(settings.database)
library = Library(settings, database)
queue = JobQueue(JobStore(database), settings)

def runner(job, context):
    for index in itertools.count():
        image = library.add(Image.new("RGB", (64, 64)), job.request, index=index, job=job.id).id
        context.keep(image)
        os.write(1, f"{job.id} {image}\\n".encode())

Worker(queue, "gpu", runner).start()
queue.submit(GenerateRequest(model="toy", seed=1, batches=64))
threading.Event().wait()
"""


def killed_run(folder: Path, seconds: float, program_text: str = PROGRAM) -> list[list[str]]:
    """Start the program, kill it `seconds` after its first word, and return what it said: (verb, job)."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", program_text, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as program:
        assert program.stdout
        first = program.stdout.readline()
        time.sleep(seconds)
        program.send_signal(signal.SIGKILL)
        lines = (first + program.stdout.read()).splitlines(keepends=True)
    return [line.split() for line in lines if line.endswith("\n")]


def test_a_killed_program_loses_no_job(tmp_path: Path):
    accepted: list[str] = []
    ran: list[str] = []
    for _ in range(KILLS):
        for verb, job_id in killed_run(tmp_path, random.uniform(0, 0.4)):
            (accepted if verb == "accepted" else ran).append(job_id)
    assert len(accepted) > KILLS

    settings = Settings(data_dir=tmp_path)
    store = JobStore(Database(settings.database))
    queue = JobQueue(store, settings)
    jobs = {job_id: queue.job(job_id) for job_id in accepted}
    assert len(ran) == len(set(ran))
    assert {job.state for job in jobs.values()} <= {
        JobState.QUEUED,
        JobState.FINISHED,
        JobState.INTERRUPTED,
    }
    interrupted = [job for job in queue.jobs(100_000) if job.state is JobState.INTERRUPTED]
    assert len(interrupted) <= KILLS
    assert all(
        job.images == (f"image-of-{job.id}",) for job in jobs.values() if job.state is JobState.FINISHED
    )


def test_what_a_killed_program_left_waiting_is_run_by_the_next_in_order(tmp_path: Path):
    killed_run(tmp_path, 0.2)
    settings = Settings(data_dir=tmp_path)
    queue = JobQueue(JobStore(Database(settings.database)), settings)
    left = [job.id for job in queue.jobs(100_000) if job.state is JobState.QUEUED][:20]
    ran: list[str] = []
    worker = Worker(queue, "gpu", lambda job, context: ran.append(job.id) or Made())
    worker.start()
    ends = [[*queue.events(job_id, timeout=20)][-1] for job_id in left]
    worker.stop()
    assert left
    assert all(isinstance(end, Finished) for end in ends)
    assert ran[: len(left)] == left


def test_a_killed_job_has_all_the_pictures_that_it_had_finished(tmp_path: Path):
    for _ in range(3):
        stored = killed_run(tmp_path, random.uniform(0, 0.4), PAINTER)
        studio = build_studio(Settings(data_dir=tmp_path))
        job = studio.job(stored[0][0])
        studio.close()
        assert job.state is JobState.INTERRUPTED
        assert [image for _, image in stored] == list(job.images[: len(stored)])
        assert len(job.images) - len(stored) <= 1  # stored, and killed before it could say so
