from threading import Thread

import pytest

from studio.core.errors import DiskFull, EaselError
from studio.storage.database import Database

NOTES = "CREATE TABLE IF NOT EXISTS notes (id INTEGER PRIMARY KEY, text TEXT NOT NULL);"


@pytest.fixture
def database(tmp_path):
    database = Database(tmp_path / "deep" / "easel.sqlite")
    database.migrate("notes", [NOTES])
    yield database
    database.close()


def texts(database):
    return [row["text"] for row in database.connect().execute("SELECT text FROM notes ORDER BY id")]


def add(database, text):
    database.connect().execute("INSERT INTO notes (text) VALUES (?)", (text,))


def test_what_is_written_is_there_after_a_restart(database):
    add(database, "kept")
    database.close()
    assert texts(Database(database.path)) == ["kept"]


def test_it_uses_the_write_ahead_log_and_foreign_keys(database):
    connection = database.connect()
    assert connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert connection.execute("PRAGMA foreign_keys").fetchone()[0] == 1


def fail_after_adding(database):
    with database.transaction():
        add(database, "lost")
        raise ValueError("stop")


def test_a_failing_transaction_leaves_nothing(database):
    with pytest.raises(ValueError, match="stop"):
        fail_after_adding(database)
    assert texts(database) == []


def test_a_transaction_inside_another_joins_it(database):
    with database.transaction():
        add(database, "outer")
        with pytest.raises(ValueError, match="stop"):
            fail_after_adding(database)
        assert texts(database) == ["outer", "lost"]


def test_a_failure_that_leaves_the_outer_transaction_takes_all_of_it_back(database):
    def add_and_fail():
        with database.transaction():
            add(database, "outer")
            fail_after_adding(database)

    with pytest.raises(ValueError, match="stop"):
        add_and_fail()
    assert texts(database) == []


def test_migrations_run_once_and_in_order(database):
    database.migrate("notes", [NOTES, "ALTER TABLE notes ADD COLUMN stars INTEGER DEFAULT 0;"])
    database.migrate("notes", [NOTES, "ALTER TABLE notes ADD COLUMN stars INTEGER DEFAULT 0;"])
    add(database, "starred")
    assert database.connect().execute("SELECT stars FROM notes").fetchone()["stars"] == 0


def test_a_migration_with_a_trigger_is_not_cut_at_its_semicolons(database):
    trigger = """
    CREATE TRIGGER shout AFTER INSERT ON notes BEGIN
        UPDATE notes SET text = upper(text) WHERE id = new.id;
        UPDATE notes SET text = text || '!' WHERE id = new.id;
    END;
    """
    database.migrate("notes", [NOTES, trigger])
    add(database, "hello")
    assert texts(database) == ["HELLO!"]


def test_a_migration_that_fails_half_way_changes_nothing(database):
    with pytest.raises(Exception, match="nonsense"):
        database.migrate("notes", [NOTES, "CREATE TABLE extra (a);\nnonsense;"])
    tables = {row[0] for row in database.connect().execute("SELECT name FROM sqlite_master")}
    assert "extra" not in tables


def test_a_database_of_a_newer_easel_is_refused_with_a_sentence(database):
    database.migrate("notes", [NOTES, "CREATE TABLE more (a);"])
    with pytest.raises(EaselError, match="newer Easel"):
        database.migrate("notes", [NOTES])


def test_threads_write_at_the_same_time_without_losing_anything(database):
    def count_up():
        for _ in range(25):
            with database.transaction() as connection:
                total = connection.execute("SELECT count(*) FROM notes").fetchone()[0]
                connection.execute("INSERT INTO notes (id, text) VALUES (?, 'x')", (total + 1,))

    threads = [Thread(target=count_up) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(texts(database)) == 100


def test_connections_of_ended_threads_are_closed(database):
    for _ in range(5):
        thread = Thread(target=lambda: texts(database))
        thread.start()
        thread.join()
    assert len(database._connections) <= 2


def test_a_full_disk_is_a_sentence_and_the_database_stays_usable(database):
    connection = database.connect()
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(DiskFull, match=r"no room left .* Free some space"), database.transaction():
        add(database, "x" * 100_000)
    connection.execute("PRAGMA max_page_count = 1000000")
    add(database, "fits again")
    assert texts(database) == ["fits again"]


def test_a_file_that_is_no_database_is_set_aside_not_deleted(tmp_path):
    path = tmp_path / "easel.sqlite"
    path.write_bytes(b"rubbish" * 1000)
    database = Database(path)
    database.migrate("notes", [NOTES])
    add(database, "new")
    assert texts(database) == ["new"]
    assert [kept.read_bytes()[:7] for kept in tmp_path.glob("*.broken-*")] == [b"rubbish"]


def test_a_database_that_is_up_to_date_opens_on_a_full_disk(database):
    database.connect().execute("PRAGMA query_only = ON")
    database.migrate("notes", [NOTES])
    assert texts(database) == []
