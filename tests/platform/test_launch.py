"""launch.py: what it decides, and what it makes. Nothing is downloaded here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import pytest

import launch
from launch import Environment, SetupError

ROOT = Path(launch.__file__).parent


@pytest.fixture
def copy(tmp_path: Path) -> Environment:
    """A copy of Easel with nothing installed."""
    for name in ("pyproject.toml", "constraints.txt", "launch.py"):
        shutil.copy(ROOT / name, tmp_path / name)
    return Environment(tmp_path)


@pytest.fixture
def environment(copy: Environment) -> Environment:
    """A copy with a real environment that has no pip, which takes seconds to install."""
    venv.create(copy.folder, with_pip=False)
    return copy


@pytest.fixture
def installs(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """The installer's commands, recorded in place of being run."""
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    monkeypatch.setattr(launch, "ensure_environment", lambda environment, uv: None)
    monkeypatch.setattr(launch, "run_installer", lambda command, folder: commands.append(command))
    return commands


@pytest.mark.parametrize(
    ("words", "command", "rest"),
    [
        ([], "serve", []),
        (["--port", "8000"], "serve", ["--port", "8000"]),
        (["serve", "--no-browser"], "serve", ["--no-browser"]),
        (["generate", "a red ball", "--seed", "7"], "generate", ["a red ball", "--seed", "7"]),
        (["test", "tests/core", "-x"], "test", ["tests/core", "-x"]),
        (["--help"], "--help", []),
    ],
)
def test_the_first_word_is_the_command(words, command, rest):
    assert launch.split_command(words) == (command, rest)


@pytest.mark.parametrize("version", [(3, 10), (3, 11), (3, 12), (3, 13)])
def test_supported_pythons_pass(version):
    assert launch.python_problem(version) is None


@pytest.mark.parametrize("version", [(3, 8), (3, 9), (3, 14)])
def test_other_pythons_get_a_sentence_with_a_remedy(version, monkeypatch):
    monkeypatch.setattr(launch.shutil, "which", lambda name: None)
    problem = launch.python_problem(version)
    assert "needs Python 3.10-3.13" in problem
    assert f"Python 3.{version[1]}." in problem
    assert "Install Python 3.12" in problem


def test_a_supported_python_on_the_path_is_named(monkeypatch):
    monkeypatch.setattr(launch.shutil, "which", lambda name: name if name == "python3.11" else None)
    assert launch.python_problem((3, 9)).endswith("Run: python3.11 launch.py")


def test_a_python_without_venv_names_the_package_to_install(monkeypatch):
    monkeypatch.setattr(launch.importlib.util, "find_spec", lambda name: None)
    assert f"apt install python3.{sys.version_info[1]}-venv" in launch.venv_problem()


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("OSError: [Errno 28] No space left on device", "Free some space"),
        ("Retrying after NewConnectionError ... No matching distribution found", "needs the network"),
        ("error: Permission denied (os error 13)", "may not"),
        ("ERROR: No matching distribution found for torch", "does not exist for this system"),
        ("The user requested (constraint) torch<=2.14", "pip config list"),
        ("something else", "delete .venv"),
    ],
)
def test_what_the_installer_says_becomes_a_sentence(output, words):
    assert words in launch.explain_failure(output)


def test_a_failing_installer_is_explained(tmp_path, capfd):
    script = "import sys; sys.exit('error: No space left on device')"
    with pytest.raises(SetupError, match="Free some space"):
        launch.run_installer([sys.executable, "-c", script], tmp_path)
    assert "No space left" in capfd.readouterr().err


def test_an_environment_is_made_and_healed(copy):
    """Made with this Python; made again when an interrupted start left it without a working pip."""
    launch.ensure_environment(copy, uv=None)
    assert copy.version() == sys.version_info[:2]
    shutil.rmtree(next(copy.folder.glob("**/site-packages/pip")))
    launch.ensure_environment(copy, uv=None)
    pip = subprocess.run([copy.python, "-m", "pip", "--version"], capture_output=True, text=True)
    assert str(copy.folder) in pip.stdout


def test_a_second_set_up_installs_nothing(environment, installs):
    launch.set_up(environment, ["test"])
    launch.set_up(environment, ["test"])
    launch.set_up(environment)
    assert len(installs) == 1


def test_an_interrupted_set_up_is_continued(environment, installs, monkeypatch):
    def interrupted(command, folder):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(launch, "run_installer", interrupted)
        with pytest.raises(KeyboardInterrupt):
            launch.set_up(environment)
    assert environment.installed_extras() is None
    launch.set_up(environment)
    assert environment.installed_extras() == frozenset()
    assert len(installs) == 1


def test_the_installation_asks_for_the_pins_and_keeps_earlier_extras(environment, installs):
    launch.set_up(environment, ["test"])
    launch.set_up(environment, ["cluster"])
    root = environment.root
    assert installs[1][:4] == [str(environment.python), "-m", "pip", "install"]
    assert installs[1][4:] == [
        "--constraint",
        str(root / "constraints.txt"),
        "--editable",
        f"{root}[cluster,test]",
    ]


def test_uv_installs_into_the_same_environment(copy):
    command = launch.install_command(copy, [], uv="/opt/uv")
    assert command[:5] == ["/opt/uv", "pip", "install", "--python", str(copy.python)]


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_changed_pins_make_the_installation_stale(environment, name):
    environment.write_stamp(["test"])
    assert environment.installed_extras() == {"test"}
    with (environment.root / name).open("a") as file:
        file.write("\n# changed")
    assert environment.installed_extras() is None


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"fingerprint": 1, "extras": null}'])
def test_a_broken_stamp_counts_as_none(environment, text):
    environment.stamp.write_text(text)
    assert environment.installed_extras() is None


def test_a_moved_folder_is_installed_again(environment, tmp_path_factory):
    environment.write_stamp([])
    moved = tmp_path_factory.mktemp("moved") / "easel"
    shutil.copytree(environment.root, moved, symlinks=True)
    assert Environment(moved).installed_extras() is None


def test_the_stamp_is_whole_or_absent(environment):
    environment.write_stamp(["test"])
    assert json.loads(environment.stamp.read_text())["extras"] == ["test"]
    assert not list(environment.folder.glob("*.part"))


def test_help_installs_nothing(copy):
    answer = subprocess.run(
        [sys.executable, copy.root / "launch.py", "--help"], capture_output=True, text=True, check=True
    )
    assert "python launch.py test" in answer.stdout
    assert not copy.folder.exists()


@pytest.mark.parametrize("words", [[], ["tests/core", "-x"], ["-k", "not slow"], ["--durations=5"]])
def test_tests_run_side_by_side_a_file_in_one_process(words):
    options = ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    assert launch.test_command("python", words) == ["python", "-m", "pytest", *options, *words]


@pytest.mark.parametrize("words", [["-n0"], ["-n", "3"], ["--dist=load", "-n2"], ["--pdb"], ["-x", "-s"]])
def test_who_says_how_tests_run_is_obeyed(words):
    assert launch.test_command("python", words) == ["python", "-m", "pytest", *words]


def test_only_the_standard_library_is_needed():
    script = "import launch, sys; print('site' in sys.modules, launch.ROOT)"
    answer = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); {script}"],
        capture_output=True,
        text=True,
    )
    assert answer.stdout.split() == ["False", str(ROOT)], answer.stderr


def make_program(path: Path, status: int) -> Path:
    path.write_text(f"#!/bin/sh\nexit {status}\n")
    path.chmod(0o755)
    return path


def test_a_chromium_that_starts_is_found_and_a_broken_one_is_not(tmp_path):
    broken = make_program(tmp_path / "chromium", 127)
    sound = make_program(tmp_path / "google-chrome", 0)
    assert launch.find_chromium({"PATH": str(tmp_path)}) == str(sound)
    assert launch.find_chromium({"PATH": "", "EASEL_CHROMIUM": str(sound)}) == str(sound)
    assert launch.find_chromium({"PATH": "", "EASEL_CHROMIUM": str(broken)}) is None
