"""Sets Easel up and starts it. Needs nothing but Python 3.10-3.13.

    python launch.py                    set up where that is needed, then serve the page and open the browser
    python launch.py --port 8000        the same, with flags of `serve` (all of them: launch.py serve --help)
    python launch.py test [...]         set up with the test tools and a Chromium, then run every test
    python launch.py setup [--extra X]  only set up; X is test, dev or cluster
    python launch.py COMMAND [...]      any other command: generate, models, bench, doctor

The environment is the folder .venv beside this file. A second start finds it complete and installs nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
OLDEST, NEWEST = (3, 10), (3, 13)

FAILURES = {
    r"No space left on device|ENOSPC|not enough space": (
        "Installing needs about 8 GB on this disk, and it is full. "
        "Free some space, then run the same command again."
    ),
    r"NewConnectionError|name resolution|getaddrinfo|timed out|dns error|tcp connect|ProxyError": (
        "Installing needs the network, and the package index does not answer. Check the connection "
        "(behind a proxy, set HTTPS_PROXY), then run the same command again: what was fetched is kept."
    ),
    r"Permission denied|PermissionError|Access is denied": (
        "Installing needs to write into this folder, and may not. "
        "Give yourself the right to, or copy Easel to a folder of yours."
    ),
    r"The user requested \(constraint\)": (
        "pip is told on this machine to take other versions than constraints.txt pins; the lines above say "
        "of what. Find the setting with: python -m pip config list (or the variable PIP_CONSTRAINT). "
        "Lift it for this installation, then run the same command again."
    ),
    r"No matching distribution|No solution found|not a supported wheel": (
        "One of the pinned packages does not exist for this system. Easel needs a 64-bit Python on Linux, "
        "macOS 14+ or Windows, and a package index that has the versions in constraints.txt."
    ),
}
"""What the installer says, and what that means for a person."""


class SetupError(Exception):
    """Setting up cannot go on. The message is a sentence for a person: need, have, remedy."""


@dataclass(frozen=True)
class Environment:
    """The virtual environment of one copy of Easel, with the note it keeps about what was installed."""

    root: Path

    @property
    def folder(self) -> Path:
        return self.root / ".venv"

    @property
    def python(self) -> Path:
        return self.folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")

    @property
    def stamp(self) -> Path:
        return self.folder / "easel-installed.json"

    def version(self) -> tuple[int, int] | None:
        """The environment's Python, as (major, minor); None where no environment is that could start."""
        config = self.folder / "pyvenv.cfg"
        if not config.is_file() or not self.python.exists():
            return None
        found = re.search(r"^version(?:_info)?\s*=\s*(\d+)\.(\d+)", config.read_text("utf-8"), re.MULTILINE)
        return (int(found[1]), int(found[2])) if found else None

    def fingerprint(self) -> str:
        """Changes with everything that could make an installation stale."""
        digest = hashlib.sha256(f"{self.version()} {self.root}".encode())
        for name in ("pyproject.toml", "constraints.txt"):
            digest.update((self.root / name).read_bytes())
        return digest.hexdigest()

    def installed_extras(self) -> frozenset[str] | None:
        """The extras that are installed as the files here want them; None where nothing (valid) is."""
        try:
            note = json.loads(self.stamp.read_text("utf-8"))
            valid = self.version() is not None and note["fingerprint"] == self.fingerprint()
            return frozenset(note["extras"]) if valid else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write_stamp(self, extras: Iterable[str]) -> None:
        note = {"fingerprint": self.fingerprint(), "extras": sorted(extras)}
        unfinished = self.stamp.with_suffix(".part")
        unfinished.write_text(json.dumps(note), "utf-8")
        unfinished.replace(self.stamp)


def split_command(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command and its arguments; without a first word, or with flags only, it is `serve`."""
    if not words or (words[0].startswith("-") and words[0] not in ("-h", "--help")):
        return "serve", list(words)
    return words[0], list(words[1:])


def python_problem(version: tuple[int, int]) -> str | None:
    """Why an environment cannot be made with this Python, as a sentence; None when it can."""
    if OLDEST <= version <= NEWEST:
        return None
    supported = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    other = next(filter(shutil.which, supported), None)
    remedy = (
        f"Run: {other} launch.py" if other else "Install Python 3.12 from python.org or your package manager."
    )
    return f"Easel needs Python 3.10-3.13, and this is Python {version[0]}.{version[1]}. {remedy}"


def venv_problem() -> str | None:
    """Why this Python cannot make a virtual environment, as a sentence; None when it can."""
    missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
    if not missing:
        return None
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    return (
        f"Easel needs Python's module {missing[0]}, and this Python comes without it. "
        f"On Debian and Ubuntu: sudo apt install {package}. Then run the same command again."
    )


def explain_failure(output: str) -> str:
    """One sentence for what the installer's last words mean."""
    for pattern, meaning in FAILURES.items():
        if re.search(pattern, output, re.IGNORECASE):
            return meaning
    return "Installing failed; the lines above say where. Run the same command again, or delete .venv first."


def set_up(environment: Environment, extras: Iterable[str] = ()) -> None:
    """Bring the environment to what pyproject.toml and constraints.txt say; returns at once when it is there.

    The stamp is written last, so an installation that was interrupted is simply continued by the next start.

    Raises: SetupError.
    """
    present = environment.installed_extras()
    wanted = frozenset(extras) | (present or frozenset())
    if present is not None and wanted <= present:
        return
    uv = shutil.which("uv")
    say(f"Setting up in {environment.folder} (once; several GB and a few minutes).")
    ensure_environment(environment, uv)
    run_installer(install_command(environment, wanted, uv), environment.root)
    environment.write_stamp(wanted)
    say("Set up.")


def ensure_environment(environment: Environment, uv: str | None) -> None:
    """Make the virtual environment, unless one is there that can install packages.

    Raises: SetupError.
    """
    version = environment.version()
    can_install = uv or _succeeds([str(environment.python), "-m", "pip", "--version"])
    if version and python_problem(version) is None and can_install:
        return
    problem = python_problem(sys.version_info[:2]) or (None if uv else venv_problem())
    if problem:
        raise SetupError(problem)
    # --clear heals a folder that an interrupted start left behind.
    make = (
        [uv, "venv", "--clear", "--python", sys.executable]
        if uv
        else [sys.executable, "-m", "venv", "--clear"]
    )
    run_installer([*make, str(environment.folder)], environment.root)


def install_command(environment: Environment, extras: Iterable[str], uv: str | None) -> list[str]:
    """The one command that installs Easel, editable, with its pinned dependencies."""
    names = ",".join(sorted(extras))
    project = f"{environment.root}[{names}]" if names else str(environment.root)
    python = str(environment.python)
    installer = [uv, "pip", "install", "--python", python] if uv else [python, "-m", "pip", "install"]
    return [*installer, "--constraint", str(environment.root / "constraints.txt"), "--editable", project]


def run_installer(command: Sequence[str], folder: Path) -> None:
    """Run `command` in sight of the person.

    Raises: SetupError, with a remedy for what the command printed to its error stream.
    """
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=folder, env=quiet, stderr=subprocess.PIPE, text=True) as process:
        errors = "".join(_pass_on(process.stderr or ()))
    if process.returncode:
        raise SetupError(explain_failure(errors))


def _pass_on(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        sys.stderr.write(line)
        sys.stderr.flush()
        yield line


def _succeeds(command: Sequence[str], timeout: float = 60) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=timeout).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def find_chromium(environ: Mapping[str, str] = os.environ) -> str | None:
    """Path of a Chromium that starts: the one in EASEL_CHROMIUM, or one on PATH."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    on_path = (shutil.which(name, path=environ.get("PATH")) for name in names)
    candidates = (environ.get("EASEL_CHROMIUM"), *on_path)
    return next((path for path in candidates if path and _succeeds([path, "--version"])), None)


def playwright_chromium(environment: Environment) -> str | None:
    """Path of the Chromium that Playwright fetched, if it did and this system can run it."""
    script = (
        "from playwright.sync_api import sync_playwright\n"
        "with sync_playwright() as playwright: print(playwright.chromium.executable_path)"
    )
    answer = subprocess.run([str(environment.python), "-c", script], capture_output=True, text=True)
    path = answer.stdout.strip()
    return path if path and _succeeds([path, "--version"]) else None


def ensure_chromium(environment: Environment) -> str:
    """Path of a Chromium for the browser tests, fetched where there is none.

    Raises: SetupError.
    """
    found = find_chromium() or playwright_chromium(environment)
    if found:
        return found
    say("Fetching a Chromium for the browser tests.")
    subprocess.run([str(environment.python), "-m", "playwright", "install", "chromium"])
    found = playwright_chromium(environment)
    if not found and shutil.which("apt-get") and os.geteuid() == 0:
        say("Playwright's Chromium cannot be had or does not start here; taking Debian's package.")
        unattended = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "update", "-q"], env=unattended)
        subprocess.run(["apt-get", "install", "-y", "-q", "chromium"], env=unattended)
        found = find_chromium()
    if not found:
        raise SetupError(
            "The browser tests need a Chromium, and none could be found or fetched. "
            "Install Chromium or Google Chrome, or name one in the variable EASEL_CHROMIUM."
        )
    return found


def test_command(python: str, words: Sequence[str]) -> list[str]:
    """Pytest with `words`: on all idle cores, a file of tests on one, unless `words` say how it is to run.

    A debugger and what tests print need a single process. How many run is decided in tests/conftest.py.
    """
    own = re.compile(r"-n|--numprocesses|--dist|--pdb|--trace|-s$|--capture|--co$|--collect-only")
    alone = any(own.match(word) for word in words)
    together = [] if alone else ["-n", "auto", "--dist", "loadfile", "--no-loadscope-reorder"]
    return [python, "-m", "pytest", *together, *words]


def hand_over(command: list[str]) -> int:
    """Become `command`. Windows cannot replace a process, so there it runs as a child."""
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)
    try:
        return subprocess.call(command)
    except KeyboardInterrupt:
        return 130


def say(message: str) -> None:
    print(f"easel: {message}", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    command, rest = split_command(words)
    environment = Environment(ROOT)
    python = str(environment.python)
    if command in ("-h", "--help"):
        print(__doc__)
        return 0
    if command == "setup":
        parser = argparse.ArgumentParser(prog="launch.py setup", description="Set up, and start nothing.")
        parser.add_argument("--extra", action="append", default=[], choices=("test", "dev", "cluster"))
        set_up(environment, parser.parse_args(rest).extra)
        return 0
    if command == "test":
        set_up(environment, ["test"])
        os.environ["EASEL_CHROMIUM"] = ensure_chromium(environment)
        os.chdir(ROOT)
        return hand_over(test_command(python, rest))
    set_up(environment)
    return hand_over([python, "-m", "studio", command, *rest])


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except SetupError as problem:
        say(str(problem))
        sys.exit(1)
    except KeyboardInterrupt:
        say("Stopped. The next start goes on from here.")
        sys.exit(130)
