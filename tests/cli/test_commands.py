"""The command line as a person meets it: real processes, real files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageChops
from typer.testing import CliRunner

from studio.cli import app
from studio.cli.generate import make_pictures
from studio.core.errors import EaselError, InvalidRequest, OutOfMemory
from studio.core.jobs import JobState
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from tests import tiny
from tests.fakes import FakeStudio
from tests.models.sparse import write_raw, write_sparse


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    tiny.make_sd1(folder / "tiny")
    return folder


def easel(*words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "studio", *map(str, words)], capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize(
    "words",
    [
        ["serve"],
        ["generate"],
        ["doctor"],
        ["models", "list"],
        ["models", "add"],
        ["models", "install"],
        ["models", "info"],
        ["bench", "generate"],
        ["bench", "control"],
        ["bench", "stack"],
        ["bench", "load"],
    ],
)
def test_every_command_explains_itself(words):
    answer = CliRunner().invoke(app, [*words, "--help"], prog_name="easel")
    assert answer.exit_code == 0
    assert f"Usage: easel {' '.join(words)}" in answer.output


def test_generate_writes_the_pictures_and_their_names(tmp_path, models_dir):
    out = tmp_path / "ball.png"
    options = ["--models-dir", models_dir, "--model", "tiny", "--seed", 7, "--steps", 2, "--batch-size", 2]
    made = easel("generate", "a red ball", "--out", out, *options, "--data-dir", tmp_path / "data")
    assert made.returncode == 0, made.stderr
    files = [out.with_stem("ball-1"), out.with_stem("ball-2")]
    assert made.stdout.split() == [str(file) for file in files]
    with Image.open(files[1]) as picture:
        assert picture.size == (64, 64)
        assert "Seed: 8" in picture.text["parameters"]


def test_generate_writes_over_nothing_that_is_there(tmp_path, models_dir):
    ball = tmp_path / "ball.png"
    Image.new("RGB", (64, 64), "red").save(ball)
    before = ball.read_bytes()

    def generated(*words):
        options = (
            "--models-dir",
            models_dir,
            "--model",
            "tiny",
            "--steps",
            1,
            "--data-dir",
            tmp_path / "data",
        )
        given = ("generate", "a ball", "--source", ball, "--out", ball, *options, *words)
        return CliRunner().invoke(app, list(map(str, given)))

    assert generated().stdout.split() == [str(tmp_path / "ball-2.png")]
    assert "does not replace ball.png: it is a source" in str(generated("--force").exception)
    assert ball.read_bytes() == before


def test_generate_paints_a_part_of_a_picture_anew(tmp_path, models_dir):
    photo, mask, out = tmp_path / "photo.png", tmp_path / "mask.png", tmp_path / "out.png"
    before = Image.effect_noise((64, 64), 80).convert("RGB")
    before.save(photo)
    masked = Image.new("L", (64, 64), 0)
    masked.paste(255, (16, 16, 40, 40))
    masked.save(mask)
    options = ["--models-dir", models_dir, "--data-dir", tmp_path / "data", "--model", "tiny", "--steps", 2]
    told = ["--source", photo, "--mask", mask, "--blur", 0, "--area", "only masked", "--outpaint", "left=16"]
    words = ["generate", "a red ball", "--out", out, "--strength", 1, *options, *told]
    made = CliRunner().invoke(app, list(map(str, words)))
    assert made.exit_code == 0, made.output
    with Image.open(out) as picture:
        assert picture.size == (80, 64)
        after = picture.convert("RGB").crop((16, 0, 80, 64))
        assert ImageChops.difference(before, after).crop((8, 0, 64, 64)).getbbox() == (8, 16, 32, 40)
        assert "Inpaint area: Only masked" in picture.text["parameters"]


def test_what_was_finished_before_a_job_failed_is_written_all_the_same(tmp_path):
    class Stopping(FakeStudio):
        def add_image(self, request, **values):
            self.fail_next = OutOfMemory("It needs 9 GB.")
            return super().add_image(request, **values)

    studio = Stopping(tmp_path / "data", step_seconds=0)
    request = GenerateRequest(prompt="a ball", width=64, height=64, steps=2, batches=3, seed=7)
    written = make_pictures(
        studio, request, lambda count: tuple(tmp_path / f"ball-{at}.png" for at in range(1, count + 1))
    )
    assert next(written) == tmp_path / "ball-1.png"
    with pytest.raises(EaselError, match="It needs 9 GB"):
        next(written)
    studio.close()
    assert Image.open(tmp_path / "ball-1.png").size == (64, 64)
    assert not (tmp_path / "ball-2.png").exists()


def test_generate_refuses_before_it_loads_anything(tmp_path, models_dir):
    options = ["--models-dir", models_dir, "--data-dir", tmp_path, "--model", "tiny"]
    for wrong, sentence in (
        (["--size", "100"], "WIDTHxHEIGHT"),
        (["--size", "100x100"], "width must be a multiple of 8, and is 100"),
        (["--out", "ball.tiff"], ".png, .jpg"),
        (["--out", tmp_path / "nowhere" / "ball.png"], "nowhere for the result is not there"),
        (["--model", "nothing"], "no checkpoint 'nothing'"),
        (["--strength", "0.5"], "Add --source"),
        (["--blur", "8"], "--blur says how a part of a picture is painted anew, and there is none"),
        (["--outpaint", "right=64"], "Add --source"),
        (["--box", "a ball@-0.1,0,0.5,1"], "boxes.boxes.0.box.x0 must be at least 0.0, and is -0.1. See"),
        (["--box", "a ball@0,0,2,1"], "boxes.boxes.0.box.x1 must be at most 1.0, and is 2.0. See"),
    ):
        answer = CliRunner().invoke(app, ["generate", "a red ball", *map(str, [*options, *wrong])])
        assert sentence in str(answer.exception)


def test_two_studios_never_share_a_data_folder(tmp_path, models_dir):
    from studio.cli.session import open_studio

    with open_studio(Settings(data_dir=tmp_path)):
        second = easel("generate", "a red ball", "--data-dir", tmp_path, "--models-dir", models_dir)
    assert second.returncode == 1
    assert "Another Easel is at work" in second.stderr
    assert "Traceback" not in second.stderr


def test_generate_does_its_own_job_and_leaves_others_to_the_server(tmp_path, models_dir):
    from studio.app.studio import build_studio

    settings = Settings(data_dir=tmp_path / "data", models_dirs=(models_dir,))
    killed = build_studio(settings)
    left = killed.submit(GenerateRequest(model="tiny", prompt="left", width=64, height=64, steps=150))
    options = ["--models-dir", models_dir, "--model", "tiny", "--steps", 2, "--data-dir", tmp_path / "data"]
    made = easel("generate", "a red ball", "--out", tmp_path / "ball.png", *options)
    assert made.returncode == 0, made.stderr
    after = build_studio(settings)
    assert [image.prompt for image in after.images().images] == ["a red ball"]
    assert (after.job(left.id).state, after.job(left.id).position) == (JobState.QUEUED, 0)


def test_models_list_names_what_is_there(tmp_path, models_dir):
    listed = easel("models", "list", "--models-dir", models_dir, "--data-dir", tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "tiny" in listed.stdout
    assert "SD 1.x" in listed.stdout


def test_models_list_says_so_where_there_is_none(tmp_path):
    listed = CliRunner().invoke(app, ["models", "list", "--kind", "lora", "--data-dir", str(tmp_path)])
    assert listed.stdout == ""
    assert "--catalogue" in listed.stderr


def test_an_added_folder_is_searched_at_every_later_start(tmp_path, models_dir):
    assert easel("models", "add", models_dir, "--data-dir", tmp_path).returncode == 0
    assert "tiny" in easel("models", "list", "--data-dir", tmp_path).stdout


@pytest.mark.parametrize("missing", ["nowhere", "file"])
def test_a_models_folder_that_is_not_there_is_told_and_the_rest_goes_on(tmp_path, missing):
    (tmp_path / "file").touch()
    given = ["models", "list", "--models-dir", str(tmp_path / missing), "--data-dir", str(tmp_path)]
    listed = CliRunner().invoke(app, given)
    assert listed.stderr.startswith(f"easel: There is no models folder {tmp_path / missing}")
    assert "toytown" in listed.stdout


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "https://huggingface.co/a/b"])
def test_models_install_refuses_what_is_no_repository(tmp_path, name):
    refused = CliRunner().invoke(app, ["models", "install", name, "--data-dir", str(tmp_path)])
    assert isinstance(refused.exception, InvalidRequest)
    assert "The field repo must match" in str(refused.exception)
    assert str(refused.exception).endswith("See: easel models install --help")


def test_models_info_tells_what_a_file_is(tmp_path, models_dir):
    told = easel("models", "info", models_dir / "tiny")
    assert "checkpoint" in told.stdout
    assert "SD 1.x" in told.stdout
    (tmp_path / "broken.safetensors").write_bytes(b"\xff" * 64)
    refused = easel("models", "info", tmp_path / "broken.safetensors")
    assert refused.returncode == 1
    assert "broken.safetensors" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_models_info_prints_texts_that_no_terminal_could(tmp_path):
    metadata = {"modelspec.license": "mit\ud800", "modelspec.description": "ball\x1b[2J \udfff"}
    lora = {"lora_unet_x.lora_down.weight": (8, 8), "lora_unet_x.lora_up.weight": (8, 8), "\ud800": (1,)}
    told = easel("models", "info", write_sparse(tmp_path / "odd.safetensors", lora, metadata))
    assert told.returncode == 0, told.stderr
    assert "mit\n" in told.stdout
    broken = write_raw(tmp_path / "broken.safetensors", {"\ud800x": {"dtype": "F32"}}, 0)
    refused = easel("models", "info", broken)
    assert (refused.returncode, "entry of the tensor x is malformed" in refused.stderr) == (1, True)


def test_doctor_names_an_unwritable_folder_and_fails(tmp_path):
    (tmp_path / "file").write_text("in the way")
    answer = easel("doctor", "--data-dir", tmp_path / "file" / "data")
    assert answer.returncode == 1
    assert "--data-dir" in answer.stdout


def test_models_info_prints_the_card_of_a_lora(tmp_path):
    layer = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    shapes = {f"{layer}.lora_down.weight": (4, 768), f"{layer}.lora_up.weight": (320, 4)}
    told = {"modelspec.trigger_phrase": "anna, red hair", "sshs_model_hash": "ab" * 32}
    told_by = easel("models", "info", write_sparse(tmp_path / "lcm-lora.safetensors", shapes, told)).stdout
    for line in (
        r"trigger words +anna, red hair",
        r"rank +4",
        r"network hash +abab",
        r"suggests +technique LCM",
    ):
        assert re.search(line, told_by), line
