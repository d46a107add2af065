import errno
import os

import pytest

from studio.core.atomic import remove_leftovers, write_bytes, write_folder_via, write_via
from studio.core.errors import DiskFull
from tests.storage.faults import Fault, faulty_disk, no_space_left


def names(folder):
    return sorted(path.name for path in folder.rglob("*"))


def test_bytes_arrive_in_folders_that_did_not_exist(tmp_path):
    write_bytes(tmp_path / "a" / "b.bin", b"whole")
    assert (tmp_path / "a" / "b.bin").read_bytes() == b"whole"


def test_an_existing_file_is_replaced(tmp_path):
    write_bytes(tmp_path / "b.bin", b"old")
    write_bytes(tmp_path / "b.bin", b"new")
    assert (tmp_path / "b.bin").read_bytes() == b"new"
    assert names(tmp_path) == ["b.bin"]


@pytest.mark.parametrize("nth", range(1, 5))
def test_a_disk_that_fills_up_at_any_moment_leaves_the_old_file_and_nothing_else(tmp_path, nth):
    write_bytes(tmp_path / "b.bin", b"old")
    with (
        faulty_disk(Fault(nth, no_space_left)) as fault,
        pytest.raises(DiskFull, match=r"no room left .* b\.bin .* Free some space"),
    ):
        write_bytes(tmp_path / "b.bin", b"new" * 1000)
    assert fault.came
    assert (tmp_path / "b.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["b.bin"]


def test_other_errors_of_the_disk_keep_their_own_words(tmp_path):
    def read_only():
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    with faulty_disk(Fault(1, read_only)), pytest.raises(OSError, match="Read-only"):
        write_bytes(tmp_path / "b.bin", b"new")
    assert names(tmp_path) == []


def write_half(path):
    with write_via(path) as temporary:
        temporary.write_bytes(b"half")
        raise KeyboardInterrupt


def test_a_writer_that_is_interrupted_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        write_half(tmp_path / "b.bin")
    assert names(tmp_path) == []


def test_what_a_killed_writer_left_is_removed_later(tmp_path):
    (tmp_path / ".999999999-abc.part").write_bytes(b"half")
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == []


def test_what_is_being_written_right_now_is_left_alone(tmp_path):
    with write_via(tmp_path / "b.bin") as temporary:
        temporary.write_bytes(b"in progress")
        assert remove_leftovers(tmp_path) == 0
    assert names(tmp_path) == ["b.bin"]


def test_a_leftover_of_an_earlier_process_with_our_number_is_removed(tmp_path):
    leftover = tmp_path / f".{os.getpid()}-abc.part"
    leftover.write_bytes(b"half")
    os.utime(leftover, (1, 1))
    assert remove_leftovers(tmp_path) == 1


def test_a_folder_that_a_killed_writer_left_is_removed_later(tmp_path):
    (tmp_path / "inner" / ".999999999-abc.partial" / "deep").mkdir(parents=True)
    assert remove_leftovers(tmp_path, deep=False) == 0
    assert remove_leftovers(tmp_path) == 1
    assert names(tmp_path) == ["inner"]


def test_what_other_programs_have_not_finished_is_left_alone(tmp_path):
    for name in (".model.safetensors.part", "999999999-abc.part", ".999999999-abc.part.zip"):
        (tmp_path / name).write_bytes(b"half")
    assert remove_leftovers(tmp_path) == 0
    assert len(names(tmp_path)) == 3


def test_a_folder_arrives_as_a_whole(tmp_path):
    with write_folder_via(tmp_path / "new") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "b.bin").write_bytes(b"whole")
        assert not (tmp_path / "new").exists()
    assert names(tmp_path) == ["b.bin", "inner", "new"]


def test_a_folder_that_cannot_be_finished_is_not_there(tmp_path):
    def write():
        with write_folder_via(tmp_path / "new") as folder:
            (folder / "b.bin").write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(DiskFull, match="no room"):
        write()
    assert names(tmp_path) == []
