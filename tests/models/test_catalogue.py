"""The catalogue: foreign folders understood, ids that stay, names that never become paths, no half copies."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sqlite3
from collections import namedtuple
from pathlib import Path, PurePosixPath

import pytest
import torch
from PIL import Image

from studio.core.control_models import controls_of
from studio.core.control_types import ControlType
from studio.core.errors import (
    CorruptFile,
    DiskFull,
    InvalidRequest,
    NotFound,
    ResourceError,
    UnknownFile,
    UnsafeFile,
)
from studio.core.models import Family, ModelInfo, ModelKind, Variant, with_needs
from studio.core.settings import PACK, Settings
from studio.models.cache import FileCache
from studio.models.catalogue import ModelCatalogue
from tests import tiny
from tests.models.sparse import write_sparse
from tests.storage.faults import Fault, faulty_disk, no_space_left

LAYER = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
LORA = {f"{LAYER}.lora_down.weight": (8, 768), f"{LAYER}.lora_up.weight": (320, 8)}
HOSTILE = [
    "../sd1",
    "/etc/passwd",
    "..\\sd1",
    "a/../../b",
    "sd1/unet",
    "%2e%2e/sd1",
    "\x00",
    "C:\\x",
    "~/x",
    "",
    ".",
]


def catalogue_over(data: Path, *folders: Path, **options: object) -> ModelCatalogue:
    return ModelCatalogue(Settings(data_dir=data / "data", models_dirs=folders), **options)  # type: ignore[arg-type]


def kinds(catalogue: ModelCatalogue) -> dict[str, ModelKind]:
    shipped = {info.id for info in catalogue.models() if Path(info.location).is_relative_to(PACK)}
    return {info.id: info.kind for info in catalogue.models() if info.id not in shipped}


def test_the_folders_of_automatic1111_are_understood(tmp_path, models_dir):
    webui = tmp_path / "webui"
    tiny.to_single_file(models_dir / "sd1", webui / "models" / "Stable-diffusion" / "base.safetensors")
    write_sparse(webui / "models" / "Lora" / "people" / "anna.safetensors", LORA)
    write_sparse(webui / "models" / "ESRGAN" / "upscaler.safetensors", {"body": (1,)})
    (webui / "embeddings").mkdir()
    torch.save({"string_to_param": {"*": torch.ones(1, 768)}}, webui / "embeddings" / "cat.pt")
    expected = {"base": ModelKind.CHECKPOINT, "anna": ModelKind.LORA, "cat": ModelKind.EMBEDDING}
    assert kinds(catalogue_over(tmp_path, webui / "models")) == expected
    assert kinds(catalogue_over(tmp_path / "other", webui)) == expected


def test_comfyuis_folders_and_extra_paths_are_understood(tmp_path, models_dir):
    comfy, elsewhere = tmp_path / "ComfyUI", tmp_path / "elsewhere"
    tiny.to_single_file(models_dir / "sd1", comfy / "models" / "checkpoints" / "base.safetensors")
    write_sparse(elsewhere / "my loras" / "anna.safetensors", LORA)
    (comfy / "extra_model_paths.yaml").write_text(
        "mine:\n  base_path: ../elsewhere\n  loras: |\n    my loras\n    not there\n  is_default: true\n"
    )
    expected = {"base": ModelKind.CHECKPOINT, "anna": ModelKind.LORA}
    assert kinds(catalogue_over(tmp_path, comfy)) == expected
    assert kinds(catalogue_over(tmp_path / "other", comfy / "models")) == expected


def test_files_that_libraries_name_alike_are_called_by_their_own_folder(tmp_path):
    for place in ("embeddings/cat-toy", "embeddings"):
        (tmp_path / "models" / place).mkdir(parents=True, exist_ok=True)
        torch.save({"<s>": torch.ones(768)}, tmp_path / "models" / place / "learned_embeds.bin")
    expected = {"cat-toy": ModelKind.EMBEDDING, "learned_embeds": ModelKind.EMBEDDING}
    assert kinds(catalogue_over(tmp_path, tmp_path / "models")) == expected


@pytest.mark.parametrize("text", ["{", "- 1", "mine: 3", "mine: {loras: [1]}", "a: &a [*a]", "\x00"])
def test_an_odd_list_of_extra_paths_is_ignored(tmp_path, text):
    folder = tmp_path / "models"
    write_sparse(folder / "anna.safetensors", LORA)
    (folder / "extra_model_paths.yaml").write_text(text)
    assert kinds(catalogue_over(tmp_path, folder)) == {"anna": ModelKind.LORA}


def test_the_hubs_cache_is_understood(tmp_path):
    snapshot = tmp_path / "hub" / "models--someone--tiny-model" / "snapshots" / "abc123"
    tiny.make_sd1(snapshot)
    assert kinds(catalogue_over(tmp_path, tmp_path / "hub")) == {"tiny-model": ModelKind.CHECKPOINT}


def test_files_that_libraries_name_alike_take_their_folders_name(tmp_path):
    write_sparse(tmp_path / "models" / "lcm-lora" / "pytorch_lora_weights.safetensors", LORA)
    assert "lcm-lora" in kinds(catalogue_over(tmp_path, tmp_path / "models"))


def test_links_in_a_circle_end_and_each_file_is_listed_once(tmp_path):
    models = tmp_path / "models"
    write_sparse(models / "anna.safetensors", LORA)
    (models / "again").symlink_to(models)
    (models / "twin.safetensors").symlink_to(models / "anna.safetensors")
    assert kinds(catalogue_over(tmp_path, models)) == {"anna": ModelKind.LORA}


def test_a_broken_file_is_listed_with_its_problem_and_hides_no_other(tmp_path, models_dir):
    models = tmp_path / "models"
    write_sparse(models / "anna.safetensors", LORA)
    (models / "cut.safetensors").write_bytes((models_dir / "sd1-file.safetensors").read_bytes()[:5000])
    (models / "gone.safetensors").symlink_to(tmp_path / "nowhere.safetensors")
    catalogue = catalogue_over(tmp_path, models)
    assert "promises a header" in catalogue.find("cut").problem
    assert not catalogue.find("gone").usable
    assert catalogue.find("anna").usable


def test_two_models_of_one_name_get_different_ids_that_survive_a_restart(tmp_path):
    for folder in ("a", "b"):
        write_sparse(tmp_path / "models" / folder / "anna.safetensors", LORA)
    torch.save({"*": torch.ones(1, 768)}, tmp_path / "models" / "anna.pt")
    first = {info.location: info.id for info in catalogue_over(tmp_path, tmp_path / "models").models()}
    assert {"anna", "anna (embedding)", "anna (lora)"} < set(first.values())
    write_sparse(tmp_path / "models" / "0" / "anna.safetensors", LORA)
    again = {info.location: info.id for info in catalogue_over(tmp_path, tmp_path / "models").models()}
    assert first.items() < again.items()
    assert len(set(again.values())) == len(again)


def test_what_was_found_out_is_kept_until_the_file_changes(tmp_path):
    file = write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    stat = file.stat()
    assert catalogue_over(tmp_path, tmp_path / "models").find("anna").usable
    file.write_bytes(b"x" * stat.st_size)
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert catalogue_over(tmp_path, tmp_path / "models").find("anna").usable
    os.utime(file)
    assert not catalogue_over(tmp_path, tmp_path / "models").find("anna").usable


def test_a_broken_cache_is_made_anew(tmp_path):
    write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "models.sqlite").write_bytes(b"no database at all" * 100)
    assert catalogue_over(tmp_path, tmp_path / "models").find("anna").usable


class FullDisk(sqlite3.Connection):
    def execute(self, *_: object) -> sqlite3.Cursor:
        raise sqlite3.OperationalError("database or disk is full")


def test_a_disk_that_is_full_at_the_start_costs_the_cache_nothing(tmp_path, monkeypatch):
    write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    catalogue_over(tmp_path, tmp_path / "models").models()
    connect = sqlite3.connect

    def full(place: object, **options: object) -> sqlite3.Connection:
        return connect(place, **options, **({} if place == ":memory:" else {"factory": FullDisk}))

    with monkeypatch.context() as while_it_is_full:
        while_it_is_full.setattr(sqlite3, "connect", full)
        assert catalogue_over(tmp_path, tmp_path / "models").find("anna").usable
    assert "anna" in FileCache(tmp_path / "data" / "models.sqlite").values("id")


def test_models_are_found_by_id_name_file_title_and_hash(catalogue):
    info = catalogue.find("sd1-file")
    digest = catalogue.full_hash(info.id)
    names = ("SD1-FILE", "sd1-file.safetensors", f"sd1-file.safetensors [{digest[:10]}]", digest[:10], digest)
    for name in (*names, f"renamed.ckpt [{digest[:10]}]"):
        assert catalogue.find(name).id == info.id
    assert catalogue.find("sd1-file").sha256 == digest


def test_a_name_can_be_looked_for_among_one_kind(tmp_path, models_dir):
    write_sparse(tmp_path / "models" / "anna.safetensors", LORA)
    tiny.to_single_file(models_dir / "sd1", tmp_path / "models" / "x" / "anna.safetensors")
    catalogue = catalogue_over(tmp_path, tmp_path / "models")
    assert catalogue.find("anna", ModelKind.LORA).kind is ModelKind.LORA
    assert catalogue.find("anna", ModelKind.CHECKPOINT).kind is ModelKind.CHECKPOINT
    with pytest.raises(NotFound, match="no VAE named 'anna'"):
        catalogue.find("anna", ModelKind.VAE)


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_reaches_a_file_outside_the_list(catalogue, name):
    for ask in (catalogue.find, catalogue.path_of, catalogue.full_hash, catalogue.activate):
        with pytest.raises(NotFound):
            ask(name)


def test_ids_hold_no_separators(tmp_path):
    write_sparse(tmp_path / "models" / "an\\na.safetensors", LORA)
    assert "an_na" in kinds(catalogue_over(tmp_path, tmp_path / "models"))


def test_a_picture_and_a_card_beside_a_model_are_taken_over(tmp_path):
    models = tmp_path / "models"
    write_sparse(models / "anna.safetensors", LORA)
    Image.new("RGB", (8, 8)).save(models / "anna.preview.png")
    (models / "README.md").write_text("---\nlicense: openrail++\ntags: [lora]\n---\n# Anna\n")
    put = lambda data: hashlib.sha256(data).hexdigest()  # noqa: E731
    info = catalogue_over(tmp_path, models, put_preview=put).find("anna")
    assert (info.preview, info.licence) == (put((models / "anna.preview.png").read_bytes()), "openrail++")


def test_previews_are_known_while_their_disk_is_unplugged(tmp_path):
    models, put = tmp_path / "models", lambda data: hashlib.sha256(data).hexdigest()
    write_sparse(models / "anna.safetensors", LORA)
    Image.new("RGB", (8, 8)).save(models / "anna.preview.png")
    preview = put((models / "anna.preview.png").read_bytes())
    assert catalogue_over(tmp_path, models, put_preview=put).models()
    models.rename(tmp_path / "elsewhere")
    unplugged = catalogue_over(tmp_path, models, put_preview=put)
    assert preview not in {info.preview for info in unplugged.models()}
    assert preview in unplugged.previews


def test_an_added_folder_is_searched_at_every_later_start(tmp_path):
    write_sparse(tmp_path / "more" / "anna.safetensors", LORA)
    assert "anna" in {info.id for info in catalogue_over(tmp_path).add_dir(tmp_path / "more")}
    assert "anna" in kinds(catalogue_over(tmp_path))
    catalogue_over(tmp_path).add_dir(tmp_path / "more")
    assert catalogue_over(tmp_path).dirs.count(tmp_path / "more") == 1


def test_only_existing_folders_are_added(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "itself").symlink_to("itself")
    (tmp_path / "\udcff").mkdir()
    names = ("nowhere", "file", "itself", "\udcff", "\ud800", "\0")
    for path in (*(tmp_path / name for name in names), Path("~nobody-of-that-name")):
        with pytest.raises(InvalidRequest, match="models folder is needed"):
            catalogue_over(tmp_path).add_dir(path)


def test_an_import_is_copied_into_the_folder_of_its_kind(tmp_path, models_dir):
    catalogue = catalogue_over(tmp_path)
    info = catalogue.import_model(models_dir / "sd2-file.safetensors", "my model")
    assert (info.id, info.kind, info.family) == ("my model", ModelKind.CHECKPOINT, Family.SD2)
    assert Path(info.location) == tmp_path / "data" / "models" / "checkpoints" / "my model.safetensors"
    assert Path(info.location).read_bytes() == (models_dir / "sd2-file.safetensors").read_bytes()
    assert catalogue.import_model(models_dir / "sd1").layout == "diffusers"


def test_a_second_import_of_one_name_is_numbered(tmp_path, models_dir):
    catalogue = catalogue_over(tmp_path)
    names = [
        Path(catalogue.import_model(models_dir / "sd1-file.safetensors").location).name for _ in range(3)
    ]
    assert names == [f"sd1-file{number}.safetensors" for number in ("", " (2)", " (3)")]


@pytest.mark.parametrize("name", [name for name in HOSTILE if name])
def test_an_imports_name_cannot_leave_the_folder(tmp_path, models_dir, name):
    place = Path(catalogue_over(tmp_path).import_model(models_dir / "sd1-file.safetensors", name).location)
    assert place.resolve().parent == (tmp_path / "data" / "models" / "checkpoints").resolve()


def imported_files(tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "data" / "models").rglob("*") if path.is_file()]


def test_what_is_no_model_is_not_copied(tmp_path):
    torch.save({"w": torch.ones(3, 3, 3)}, tmp_path / "w.pt")
    (tmp_path / "cut.safetensors").write_bytes(b"123")
    (tmp_path / "evil.ckpt").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    for name, error in {"w.pt": UnknownFile, "cut.safetensors": CorruptFile, "evil.ckpt": UnsafeFile}.items():
        with pytest.raises(error):
            catalogue_over(tmp_path).import_model(tmp_path / name)
    assert imported_files(tmp_path) == []


Usage = namedtuple("Usage", "total used free")


def test_a_model_larger_than_the_disk_is_refused_before_it_is_copied(tmp_path, models_dir, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 1000))
    with pytest.raises(DiskFull, match="disk space"):
        catalogue_over(tmp_path).import_model(models_dir / "sd1-file.safetensors")
    assert imported_files(tmp_path) == []


@pytest.mark.parametrize(
    ("code", "error"), [(errno.ENOSPC, DiskFull), (errno.EACCES, ResourceError)], ids=["full", "forbidden"]
)
def test_a_copy_that_fails_half_way_leaves_nothing(tmp_path, models_dir, monkeypatch, code, error):
    def fail(source: Path, target: Path) -> None:
        target.write_bytes(b"half")
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(shutil, "copyfile", fail)
    with pytest.raises(error):
        catalogue_over(tmp_path).import_model(models_dir / "sd1-file.safetensors")
    assert imported_files(tmp_path) == []


def test_a_folder_is_copied_without_a_half_one_on_the_way(tmp_path, models_dir, monkeypatch):
    copies = []
    copyfile = shutil.copyfile

    def fill_up(source: Path, target: Path) -> None:
        copies.append(copyfile(source, target))
        if len(copies) == 4:
            no_space_left()

    monkeypatch.setattr(shutil, "copyfile", fill_up)
    with pytest.raises(DiskFull, match=r"no room left .* sd1 .* Free some space"):
        catalogue_over(tmp_path).import_model(models_dir / "sd1")
    assert list((tmp_path / "data" / "models" / "checkpoints").iterdir()) == []


def test_links_inside_a_copied_folder_are_followed(tmp_path, models_dir):
    linked = tmp_path / "linked"
    shutil.copytree(models_dir / "sd1", linked, ignore=shutil.ignore_patterns("unet"))
    (linked / "unet").symlink_to(models_dir / "sd1" / "unet")
    place = Path(catalogue_over(tmp_path).import_model(linked).location)
    assert (place / "unet").is_dir()
    assert not (place / "unet").is_symlink()


def test_what_a_killed_copy_left_is_swept_at_the_next_start(tmp_path):
    folder = tmp_path / "data" / "models" / "checkpoints"
    (folder / ".999999999-abc.partial" / "unet").mkdir(parents=True)
    for unfinished in (folder / ".999999999-abc.part", tmp_path / "data" / ".999999999-abc.part"):
        unfinished.write_bytes(b"half")
    fresh = f".{os.getpid()}-abc.part"
    (folder / fresh).write_bytes(b"being written")
    catalogue_over(tmp_path).models()
    assert [path.name for path in folder.iterdir()] == [fresh]
    assert not (tmp_path / "data" / ".999999999-abc.part").exists()


RECORDS = {
    "active_model.json": lambda catalogue, _: catalogue.activate("second"),
    "models_dirs.json": lambda catalogue, folder: catalogue.add_dir(folder),
}


@pytest.mark.parametrize("nth", range(1, 5))
@pytest.mark.parametrize("record", RECORDS)
def test_a_full_disk_while_a_choice_is_noted_is_a_sentence_and_leaves_the_old_choice(
    tmp_path, models_dir, record, nth
):
    for name in ("first", "second"):
        tiny.to_single_file(models_dir / "sd1", tmp_path / "models" / f"{name}.safetensors")
    catalogue = catalogue_over(tmp_path, tmp_path / "models")
    catalogue.activate("first")
    catalogue.add_dir(tmp_path / "models")
    before = (tmp_path / "data" / record).read_bytes()
    with (
        faulty_disk(Fault(nth, no_space_left)) as fault,
        pytest.raises(DiskFull, match=rf"no room left .* {record} .* Free some space") as failure,
    ):
        RECORDS[record](catalogue, models_dir)
    assert (fault.came, failure.value.http_status) == (True, 507)
    assert (tmp_path / "data" / record).read_bytes() == before
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith(".")]
    assert RECORDS[record](catalogue, models_dir)


def test_a_data_folder_that_may_not_be_written_to_is_a_sentence(tmp_path, models_dir):
    def forbidden() -> None:
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    catalogue = catalogue_over(tmp_path, models_dir)
    with faulty_disk(Fault(1, forbidden)), pytest.raises(ResourceError, match=r"cannot be written to: Perm"):
        catalogue.activate("sd1")


def test_the_active_model_is_remembered_and_falls_back_when_it_is_gone(tmp_path, models_dir):
    models = tmp_path / "models"
    file = tiny.to_single_file(models_dir / "sd1", models / "chosen.safetensors")
    assert catalogue_over(tmp_path, models).activate("chosen").id == "chosen"
    assert catalogue_over(tmp_path, models).active_id == "chosen"
    file.unlink()
    assert catalogue_over(tmp_path, models).active_id != "chosen"


def test_only_a_usable_checkpoint_can_be_active(tmp_path):
    models = tmp_path / "models"
    write_sparse(models / "anna.safetensors", LORA)
    write_sparse(
        models / "unet.safetensors", {"conv_in.weight": (8, 4, 3, 3), "up_blocks.0.resnets.0.x": (1,)}
    )
    catalogue = catalogue_over(tmp_path, models)
    for name in ("anna", "unet"):
        with pytest.raises(InvalidRequest):
            catalogue.activate(name)


def test_every_row_that_can_be_installed_is_complete_and_unique(tmp_path):
    rows = catalogue_over(tmp_path).installable()
    assert len({row.id for row in rows}) == len(rows) >= 13
    assert all(row.licence and row.description and row.size_bytes and not row.installed for row in rows)
    assert {row.family for row in rows if row.variant is Variant.INPAINT} == {
        Family.SD1,
        Family.SD2,
        Family.SDXL,
    }


def test_the_catalogue_has_a_net_for_every_control_of_every_family(tmp_path):
    rows = catalogue_over(tmp_path).installable()
    followed = {
        family: {c for row in rows if row.family is family for c in row.controls} for family in Family
    }
    assert followed[Family.SD1] == set(ControlType)
    for family in (Family.SD2, Family.SDXL):
        usual = {ControlType.CANNY, ControlType.DEPTH, ControlType.OPENPOSE, ControlType.SCRIBBLE}
        assert usual <= followed[family]
    kinds = {(row.kind, row.family) for row in rows}
    assert {(kind, f) for kind in ADAPTERS for f in (Family.SD1, Family.SDXL)} <= kinds


ADAPTERS = (ModelKind.CONTROLNET, ModelKind.T2I_ADAPTER, ModelKind.IP_ADAPTER)


def test_what_a_row_follows_is_what_the_installed_model_is_known_by(tmp_path):
    layouts = {"controlnet-sdxl-union": "union-6", "controlnet-sdxl-union-promax": "union-8"}
    for row in catalogue_over(tmp_path).installable():
        name = PurePosixPath(row.install.file).stem or row.install.repo.split("/")[1]
        installed = ModelInfo(id=name, name=name, kind=row.kind, layout=layouts.get(row.id, ""))
        assert set(controls_of(installed)) == set(row.controls), row.id


def test_every_image_prompt_comes_with_an_encoder_until_that_is_installed(tmp_path):
    rows = catalogue_over(tmp_path).installable()
    prompts = [row for row in rows if row.kind is ModelKind.IP_ADAPTER]
    assert prompts
    for row in prompts:
        encoder, last = with_needs(row, rows)
        assert (encoder.kind, last) == (ModelKind.CLIP_VISION, row)
        here = [each.model_copy(update={"installed": each.id == encoder.id}) for each in rows]
        assert with_needs(row, here) == (row,)


def test_a_row_does_not_fit_a_checkpoint_of_its_family_with_other_sizes(tmp_path):
    row = next(row for row in catalogue_over(tmp_path).installable() if row.id == "controlnet-sd15-openpose")
    base = ModelInfo(id="a", name="a", kind=ModelKind.CHECKPOINT, family=Family.SD1, context_width=768)
    assert row.fits(base)
    assert row.fits(base.model_copy(update={"context_width": None}))
    assert not row.fits(base.model_copy(update={"context_width": 64}))
    assert not row.fits(base.model_copy(update={"family": Family.SD2}))


def test_listing_models_needs_no_torch(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, pathlib\n"
        "from studio.core.settings import Settings\n"
        "from studio.models.catalogue import ModelCatalogue\n"
        f"ModelCatalogue(Settings(data_dir=pathlib.Path({str(tmp_path)!r}))).models()\n"
        "assert 'torch' not in sys.modules and 'diffusers' not in sys.modules\n"
    )
    root = Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], cwd=root, check=True, timeout=120)
