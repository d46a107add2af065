"""Each check, shown a machine on which it must succeed and one on which it must fail."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from studio.app import doctor
from studio.app.doctor import Finding, Level, Probes, TorchReport, diagnose
from studio.core.settings import Settings

GB = 2**30

HEALTHY = Probes(
    python_version=lambda: (3, 12),
    package_version=lambda name: "1.0",
    import_error=lambda module: "",
    torch_report=lambda: TorchReport(version="2.15.0", cuda_build="13.0", device_name="NVIDIA H200"),
    has_nvidia_card=lambda: True,
    has_nvidia_driver=lambda: True,
    free_bytes=lambda folder: 100 * GB,
    write_error=lambda folder: "",
    total_ram=lambda: 64 * GB,
    exists=lambda folder: True,
)
CPU_BUILD = TorchReport(version="2.15.0+cpu")
CUDA_BUILD = TorchReport(version="2.15.0", cuda_build="13.0")


def findings(tmp_path: Path, **probes: object) -> dict[str, Finding]:
    """What is not well, by check."""
    settings = Settings(data_dir=tmp_path)
    found = diagnose(settings, replace(HEALTHY, **probes))
    return {finding.check: finding for finding in found if finding.level is not Level.OK}


def test_a_healthy_machine_has_no_findings(tmp_path):
    assert findings(tmp_path) == {}


def test_every_finding_says_need_have_and_remedy(tmp_path):
    ill = {
        "python_version": lambda: (3, 9),
        "package_version": lambda name: None,
        "free_bytes": lambda folder: 0,
        "write_error": lambda folder: "Permission denied",
        "total_ram": lambda: 1 * GB,
        "exists": lambda folder: False,
    }
    found = findings(tmp_path, **ill)
    assert set(found) == {"Python", "Packages", "torch", "Memory", "Disk", "Folder", "Models"}
    assert all(finding.need and finding.have and finding.remedy for finding in found.values())


@pytest.mark.parametrize("version", [(3, 9), (3, 14)])
def test_an_unsupported_python_is_a_problem(tmp_path, version):
    assert findings(tmp_path, python_version=lambda: version)["Python"].level is Level.PROBLEM


def test_missing_packages_are_named(tmp_path):
    found = findings(tmp_path, package_version=lambda name: None if name == "peft" else "1.0")
    assert found["Packages"].have == "no peft"
    assert found["Packages"].level is Level.PROBLEM


def test_a_torchvision_of_another_build_is_found_by_importing_it(tmp_path):
    error = "RuntimeError: operator torchvision::nms does not exist"
    found = findings(tmp_path, import_error=lambda module: error if module == "torchvision" else "")
    assert error in found["torch"].have
    assert "both, from one source" in found["torch"].remedy


@pytest.mark.parametrize(
    ("card", "driver", "report", "words"),
    [
        (True, False, CUDA_BUILD, "without a driver"),
        (True, True, CPU_BUILD, "build for the CPU"),
        (True, True, CUDA_BUILD, "does not work with CUDA 13.0"),
        (False, False, CUDA_BUILD, "the CPU does the work"),
    ],
)
def test_a_missing_gpu_is_explained(tmp_path, card, driver, report, words):
    found = findings(
        tmp_path,
        has_nvidia_card=lambda: card,
        has_nvidia_driver=lambda: driver,
        torch_report=lambda: report,
    )
    assert words in found["GPU"].have
    assert found["GPU"].level is Level.WARNING


@pytest.mark.parametrize(("free", "level"), [(GB // 2, Level.PROBLEM), (5 * GB, Level.WARNING)])
def test_a_filling_disk_is_told_before_it_is_full(tmp_path, free, level):
    assert findings(tmp_path, free_bytes=lambda folder: free)["Disk"].level is level


@pytest.mark.parametrize(("total", "level"), [(2 * GB, Level.PROBLEM), (8 * GB, Level.WARNING)])
def test_little_memory_is_told(tmp_path, total, level):
    assert findings(tmp_path, total_ram=lambda: total)["Memory"].level is level


def test_an_unwritable_folder_is_a_problem(tmp_path):
    found = findings(tmp_path, write_error=lambda folder: "Read-only file system")
    assert found["Folder"].have == "Read-only file system"
    assert found["Folder"].level is Level.PROBLEM


def test_the_probe_finds_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert doctor.Probes().write_error(tmp_path / "file" / "data") != ""
    assert doctor.Probes().write_error(tmp_path / "not" / "yet" / "there") == ""


def test_the_probe_tells_an_import_that_fails(tmp_path, monkeypatch):
    (tmp_path / "broken_build.py").write_text("raise RuntimeError('no operator')")
    monkeypatch.syspath_prepend(tmp_path)
    assert doctor.Probes().import_error("broken_build") == "RuntimeError: no operator"


def test_this_environment_has_no_problem(tmp_path):
    report = {finding.check: finding for finding in diagnose(Settings(data_dir=tmp_path))}
    assert {report[check].level for check in ("Python", "Packages", "torch")} == {Level.OK}
