"""A disk that is full at every single write, and a process killed at every single moment."""

import io
import signal
import subprocess
import sys

import pytest
from PIL import Image

from studio.core.errors import DiskFull
from studio.core.requests import GenerateRequest
from studio.storage.database import Database
from studio.storage.library import Library
from tests.storage.faults import Fault, faulty_disk, no_space_left


def files_below(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def is_whole(path):
    with Image.open(path) as image:
        image.load()
    return True


def picture():
    return Image.effect_noise((64, 64), 60).convert("RGB")


def png():
    file = io.BytesIO()
    picture().save(file, "PNG")
    return file.getvalue()


def image_ids(library):
    return [record.id for record in library.images().images]


WRITES = {
    "add": lambda library: library.add(picture(), GenerateRequest(seed=1)),
    "put_blob": lambda library: library.put_blob(png()),
    "thumbnail": lambda library: library.thumbnail_path(image_ids(library)[0]),
    "export": lambda library: library.export_images(image_ids(library)),
}


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("write", ["add", "put_blob", "thumbnail"])
def test_a_full_disk_at_any_write_is_a_sentence_and_leaves_no_file(library, settings, add, write, nth):
    add()
    before = library.images()
    files_before = [path for path in files_below(settings.data_dir) if "sqlite" not in path.name]
    with faulty_disk(Fault(nth, no_space_left)) as fault, pytest.raises(DiskFull, match="no room left"):
        WRITES[write](library)
    assert fault.came
    assert [path for path in files_below(settings.data_dir) if "sqlite" not in path.name] == files_before
    assert library.images() == before
    WRITES[write](library)
    assert library.images().total == before.total + (write == "add")


@pytest.mark.parametrize("nth", [1, 2])
def test_a_full_disk_while_exporting_leaves_no_zip(library, settings, add, nth):
    add()
    with faulty_disk(Fault(nth, no_space_left)), pytest.raises(DiskFull, match="no room left"):
        WRITES["export"](library)
    assert files_below(settings.data_dir / "exports") == []
    assert WRITES["export"](library).count == 1


def test_a_full_disk_in_the_database_takes_the_file_back_as_well(library, settings, database, add):
    add()
    connection = database.connect()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")

    def add_until_the_pages_are_full():
        for _ in range(200):
            add(prompt="ball " * 1000)

    with pytest.raises(DiskFull, match="no room left"):
        add_until_the_pages_are_full()
    assert len(files_below(settings.outputs)) == library.images().total
    assert library.reconcile() == 0
    connection.execute("PRAGMA max_page_count = 100000")
    add()


ADD_UNTIL_KILLED = """
import sys
from pathlib import Path
from PIL import Image
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from studio.storage.database import Database
from studio.storage.library import Library
from tests.storage.faults import Fault, die, faulty_disk

settings = Settings(data_dir=Path(sys.argv[1]))
library = Library(settings, Database(settings.database))
library.add(Image.new("RGB", (64, 64)), GenerateRequest(seed=0))
with faulty_disk(Fault(int(sys.argv[2]), die), around_index=True):
    for seed in range(1, 4):
        library.add(Image.effect_noise((64, 64), 50).convert("RGB"), GenerateRequest(seed=seed))
"""


def kill_while_adding(settings, nth):
    program = [sys.executable, "-c", ADD_UNTIL_KILLED, str(settings.data_dir), str(nth)]
    return subprocess.run(program, capture_output=True, check=False).returncode


@pytest.mark.parametrize("nth", [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 14, 17])
def test_a_killed_process_leaves_no_half_file_and_no_orphan(settings, nth):
    assert kill_while_adding(settings, nth) == -signal.SIGKILL
    library = Library(settings, Database(settings.database))
    library.reconcile()
    pictures = files_below(settings.outputs)
    assert all(is_whole(path) for path in pictures)
    assert {library.image_path(image_id) for image_id in image_ids(library)} == set(pictures)
    assert library.images().total >= 1
    record = library.add(picture(), GenerateRequest(seed=9))
    assert library.image(record.id).seed == 9


def test_every_moment_of_adding_an_image_is_among_those_where_the_process_was_killed(library):
    with faulty_disk(Fault(10**6, no_space_left), around_index=True) as fault:
        library.add(picture(), GenerateRequest(seed=1))
    assert fault.count <= 10
