"""Installing from the Hub, against a server on loopback that cuts connections, lies and refuses."""

from __future__ import annotations

import shutil
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.errors import (
    CorruptFile,
    DiskFull,
    Forbidden,
    InvalidRequest,
    JobCancelled,
    NotFound,
    Offline,
    UnknownFile,
)
from studio.core.models import ModelKind
from studio.core.requests import InstallRequest
from studio.core.settings import Settings
from studio.models import hub as hub_module
from studio.models.catalogue import ModelCatalogue
from studio.models.hub import HubFile, Repository
from studio.models.install import choose_files, install
from tests import tiny
from tests.control import nets
from tests.models.hub_server import COMMIT, FakeHub, serve
from tests.storage.faults import Fault, faulty_disk, no_space_left

FOLDER = InstallRequest(repo="someone/model")
VAE = "vae/diffusion_pytorch_model.safetensors"


@pytest.fixture
def hub(tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    folder = shutil.copytree(models_dir / "sd1", tmp_path / "repository")
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    monkeypatch.setattr(hub_module, "PAUSE", 0)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    fake = FakeHub(folder)
    with serve(fake) as address:
        monkeypatch.setenv("HF_ENDPOINT", address)
        yield fake


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data")


class Progress:
    def __init__(self) -> None:
        self.reports: list[tuple[int, int]] = []

    def __call__(self, done: int, total: int) -> None:
        self.reports.append((done, total))


def run(
    settings: Settings,
    request: InstallRequest = FOLDER,
    progress: Callable[[int, int], None] | None = None,
    check: Callable[[], None] = lambda: None,
) -> Path:
    return install(request, settings, progress=progress or Progress(), check=check)


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_diffusers_folder_arrives_whole_and_is_listed(hub, settings):
    progress = Progress()
    place = run(settings, progress=progress)
    assert place == settings.own_models / "checkpoints" / "model"
    assert files_in(place) == files_in(hub.folder)
    assert (place / VAE).read_bytes() == (hub.folder / VAE).read_bytes()
    info = ModelCatalogue(settings).find("model")
    assert (info.kind, info.licence, info.usable) == (ModelKind.CHECKPOINT, "mit", True)
    done = [report[0] for report in progress.reports]
    assert done == sorted(done)
    assert progress.reports[-1][0] == progress.reports[-1][1] > 0


def test_one_file_arrives_with_its_licence(hub, settings, tmp_path):
    tiny.to_single_file(hub.folder, hub.folder / "single.safetensors")
    place = run(settings, InstallRequest(repo="someone/model", file="single.safetensors"))
    assert place == settings.own_models / "checkpoints" / "single.safetensors"
    assert ModelCatalogue(settings).find("single").licence == "mit"
    assert hub.downloads == ["single.safetensors"]


def test_a_net_in_an_onnx_file_arrives_among_the_annotators(hub, settings):
    name = nets.make_dwpose(hub.folder).name
    place = run(settings, InstallRequest(repo="someone/model", file=name))
    assert place == settings.own_models / "annotators" / name
    assert ModelCatalogue(settings).find(place.stem).usable
    (hub.folder / "other.onnx").write_bytes(place.read_bytes()[:-9])
    with pytest.raises(CorruptFile):
        run(settings, InstallRequest(repo="someone/model", file="other.onnx"))
    assert files_in(settings.own_models / "annotators") == {name, f"{place.stem}.json"}


def test_a_file_that_libraries_name_alike_takes_the_repositorys_name(hub, settings):
    lora = {
        "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": torch.ones(
            8, 768
        )
    }
    save_file(lora, hub.folder / "pytorch_lora_weights.safetensors")
    place = run(settings, InstallRequest(repo="someone/model", file="pytorch_lora_weights.safetensors"))
    assert place == settings.own_models / "loras" / "model.safetensors"


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("models/image_encoder/model.safetensors", "model-models-image_encoder.safetensors"),
        ("diffusion_pytorch_model_promax.safetensors", "model_promax.safetensors"),
        ("models/single.safetensors", "single.safetensors"),
    ],
)
def test_what_a_common_name_leaves_open_is_told_by_the_repository_and_its_folder(hub, settings, file, name):
    (hub.folder / file).parent.mkdir(parents=True, exist_ok=True)
    tiny.to_single_file(hub.folder, hub.folder / file)
    assert run(settings, InstallRequest(repo="someone/model", file=file)).name == name


def test_a_connection_that_is_cut_again_and_again_is_taken_up_where_it_broke(hub, settings):
    hub.cut_after = 700_000
    place = run(settings)
    assert (place / VAE).read_bytes() == (hub.folder / VAE).read_bytes()
    assert "bytes=700000-" in hub.ranges


def test_a_cancelled_download_goes_on_where_it_stopped(hub, settings):
    def stop_when_large(done: int, total: int) -> None:
        if done > total // 2:
            raise JobCancelled

    with pytest.raises(JobCancelled):
        run(settings, progress=stop_when_large)
    assert ModelCatalogue(settings).models(ModelKind.LORA) == ()
    before, hub.downloads = set(hub.downloads), []
    place = run(settings)
    assert files_in(place) == files_in(hub.folder)
    assert len(before & set(hub.downloads)) <= 1


def test_the_check_stops_a_download_between_blocks(hub, settings):
    def cancelled() -> None:
        raise JobCancelled

    with pytest.raises(JobCancelled):
        run(settings, check=cancelled)
    assert hub.downloads == []


def test_a_server_that_cannot_resume_sends_the_file_anew(hub, settings):
    hub.ignore_ranges = True
    part = settings.own_models / ".downloads" / f"someone--model--folder--{COMMIT[:12]}" / f"{VAE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0123456789")
    assert (run(settings) / VAE).read_bytes() == (hub.folder / VAE).read_bytes()


def test_a_part_with_wrong_content_is_fetched_once_more(hub, settings):
    part = settings.own_models / ".downloads" / f"someone--model--folder--{COMMIT[:12]}" / f"{VAE}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"0123456789")
    assert (run(settings) / VAE).read_bytes() == (hub.folder / VAE).read_bytes()


def test_content_that_is_damaged_twice_is_given_up(hub, settings):
    hub.corrupt = {VAE}
    with pytest.raises(CorruptFile, match="arrives damaged"):
        run(settings)
    assert not (settings.own_models / "checkpoints").exists()


def test_a_hub_that_does_not_answer_is_offline_with_a_remedy(settings, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Offline, match="does not answer") as failure:
        run(settings)
    assert "goes on where it stopped" in failure.value.remedy


def test_a_hub_that_dies_half_way_is_offline_and_the_part_is_kept(hub, settings):
    hub.cut_after = 1

    def die(done: int, total: int) -> None:
        if done > 5:
            hub.refuse = 503

    with pytest.raises(Offline):
        run(settings, progress=die)
    assert any(path.suffix == ".part" for path in (settings.own_models / ".downloads").rglob("*"))


@pytest.mark.parametrize(
    ("status", "error"), [(401, Forbidden), (403, Forbidden), (404, NotFound), (500, Offline)]
)
def test_refusals_are_told_apart(hub, settings, status, error):
    hub.refuse = status
    with pytest.raises(error):
        run(settings)


def test_the_token_goes_to_the_hub_and_never_to_its_storage(hub, settings, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.redirect = True
    run(settings)
    assert hub.tokens == {"hub": "Bearer hf_secret", "storage": ""}


Usage = namedtuple("Usage", "total used free")


def test_a_download_larger_than_the_disk_is_refused_before_its_first_byte(hub, settings, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(2**40, 2**40, 1000))
    with pytest.raises(DiskFull):
        run(settings)
    assert hub.downloads == []


@pytest.mark.parametrize("nth", range(1, 13))
def test_a_disk_that_fills_up_at_the_end_of_a_download_loses_nothing_of_it(hub, settings, nth):
    request = InstallRequest(repo="someone/model", file=VAE)
    with faulty_disk(Fault(nth, no_space_left)) as fault, pytest.raises(DiskFull, match="no room left"):
        run(settings, request)
    assert fault.came
    assert not [path for path in settings.data_dir.rglob(".*.part") if path.is_file()]
    hub.downloads.clear()
    place = run(settings, request)
    assert (place.is_file(), place.with_suffix(".json").is_file()) == (True, True)
    assert hub.downloads == []
    assert len(ModelCatalogue(settings).models(ModelKind.VAE)) == 1


def test_what_is_no_model_is_thrown_away(hub, settings):
    save_file({"body": torch.ones(2, 2, 2)}, hub.folder / "upscaler.safetensors")
    with pytest.raises(UnknownFile):
        run(settings, InstallRequest(repo="someone/model", file="upscaler.safetensors"))
    assert files_in(settings.own_models) == set()


def test_an_installed_model_is_not_fetched_again_until_it_is_gone(hub, settings):
    place = run(settings)
    hub.downloads.clear()
    assert run(settings) == place
    assert hub.downloads == []
    shutil.rmtree(place)
    assert run(settings) == place
    assert hub.downloads


def test_a_file_that_the_repository_lacks_is_not_found(hub, settings):
    with pytest.raises(NotFound, match="holds no file"):
        run(settings, InstallRequest(repo="someone/model", file="../../etc/passwd"))


@pytest.mark.parametrize(
    "name", ["../evil.json", "/evil.json", "unet/../../evil.json", "a\\..\\evil.json", "unet/.."]
)
def test_a_repository_cannot_name_files_outside_its_folder(hub, settings, tmp_path, name):
    hub.extra_siblings = [{"rfilename": name, "size": 3}]
    run(settings)
    assert not list(tmp_path.rglob("evil.json"))


@pytest.mark.parametrize(
    "answer", [[], {}, {"sha": 1}, {"sha": "a", "siblings": [{}]}, {"sha": "a", "siblings": 3}]
)
def test_an_answer_that_makes_no_sense_is_corrupt(hub, settings, monkeypatch, answer):
    monkeypatch.setattr(hub, "listing", lambda: answer)
    with pytest.raises(CorruptFile, match="cannot be read"):
        run(settings)


def test_half_precision_arrives_and_loads(hub, settings):
    for file in list(hub.folder.rglob("*.safetensors")):
        half = {name: tensor.half() for name, tensor in load_file(file).items()}
        save_file(half, file.with_suffix(".fp16.safetensors"))
    place = run(settings)
    assert {path.name for path in place.rglob("*.safetensors")} == {
        "diffusion_pytorch_model.fp16.safetensors",
        "model.fp16.safetensors",
    }
    assert ModelCatalogue(settings).find("model").usable


def chosen(*names: str) -> set[str]:
    repository = Repository("someone/model", COMMIT, tuple(HubFile(name, 1) for name in names))
    return {file.name for file in choose_files(repository)}


def test_of_each_component_one_copy_is_chosen_and_nothing_else():
    wanted = {
        "model_index.json",
        "README.md",
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/pytorch_model.bin",
        "tokenizer/merges.txt",
    }
    unwanted = {
        "v1-5-pruned.ckpt",
        "v1-5-pruned.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_flax_model.msgpack",
        "vae/diffusion_pytorch_model.fp16.bin",
        "safety_checker/model.safetensors",
        "vae_encoder/model.onnx",
        "unet/deep/model.safetensors",
        "preview.png",
    }
    assert chosen(*wanted, *unwanted) == wanted


def test_shards_come_with_their_index():
    shards = {
        "config.json",
        "diffusion_pytorch_model.safetensors.index.json",
        "diffusion_pytorch_model-00001-of-00002.safetensors",
        "diffusion_pytorch_model-00002-of-00002.safetensors",
    }
    assert chosen(*shards, "diffusion_pytorch_model.bin") == shards


def test_a_repository_of_files_asks_which_one():
    with pytest.raises(InvalidRequest, match=r"a\.safetensors") as failure:
        chosen("a.safetensors", "notes.md")
    assert failure.value.field == "file"
