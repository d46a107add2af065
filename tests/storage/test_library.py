import hashlib
import io
import json
import os
import re
import threading
import time
import zipfile
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.core.boxes import Boxes, BoxInput
from studio.core.conditions import BlockWeights, ControlInput, HypernetworkInput, ImagePrompt, LoraInput
from studio.core.errors import ImageError, InvalidRequest, NotFound
from studio.core.geometry import Box
from studio.core.inpaint import Inpaint as InpaintMask
from studio.core.library import MAX_OFFSET, ImageQuery
from studio.core.models import ModelKind
from studio.core.preprocess import Inpaint
from studio.core.protocol import Library as LibraryProtocol
from studio.core.requests import MAX_SEED, GenerateRequest, OutputOptions, SourceImage, Variation
from studio.core.settings import Settings
from studio.storage import files, index
from studio.storage import library as library_module
from studio.storage.database import Database
from studio.storage.infotext import ModelFacts
from studio.storage.library import Library
from studio.storage.stack_text import NetworkFact

TODAY = datetime.now().astimezone().date()


def a_png(colour="blue"):
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return file.getvalue()


def found(library, text="", **conditions):
    return [record.seed for record in library.images(ImageQuery(text=text, **conditions)).images]


def everything(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_it_is_the_library_of_the_protocol(library):
    wanted = [name for name in vars(LibraryProtocol) if not name.startswith("_")]
    assert len(wanted) >= 11
    assert all(callable(getattr(library, name)) for name in wanted)


# -- adding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("format", "suffix"), [("png", "png"), ("jpeg", "jpg"), ("webp", "webp")])
def test_an_image_lies_under_its_day_number_and_seed(library, settings, add, format, suffix):
    records = [add(seed=seed, output=OutputOptions(format=format)) for seed in (7, 8)]
    paths = [library.image_path(record.id).relative_to(settings.outputs).as_posix() for record in records]
    assert paths == [f"{TODAY}/00000-7.{suffix}", f"{TODAY}/00001-8.{suffix}"]


@pytest.mark.parametrize("format", ["png", "jpeg", "webp"])
def test_an_image_restores_every_setting_from_its_file_alone(library, add, tmp_path, format):
    record = add(
        prompt="über, 猫",
        negative_prompt='a: "b"',
        steps=33,
        variation=Variation(seed=3, strength=0.5),
        output=OutputOptions(format=format),
    )
    elsewhere = Settings(data_dir=tmp_path / "elsewhere")
    settings = Library(elsewhere, Database(elsewhere.database)).read_settings(
        library.image_path(record.id).read_bytes()
    )
    assert settings.request == record.request
    assert (settings.source, settings.warnings) == ("Easel", ())
    assert settings.infotext == record.infotext


def test_image_i_of_a_batch_is_restored_as_itself(add):
    record = add(seed=100, batch_size=4, batches=2, index=5, variation=Variation(seed=50, strength=0.1))
    request = record.request
    assert (record.seed, request.seed, request.batch_size, request.batches) == (105, 105, 1, 1)
    assert request.variation == Variation(seed=55, strength=0.1)
    assert "Seed: 105" in record.infotext


def test_seeds_wrap_at_32_bits(add):
    assert add(seed=MAX_SEED, batch_size=2, index=1).seed == 0


def test_a_seed_that_was_not_drawn_is_a_mistake_of_the_engine(add):
    with pytest.raises(ValueError, match="draw the seeds"):
        add(seed=-1)


def test_the_record_knows_the_files_facts(library, add):
    record = add(job="job-1", model="toytown")
    data = library.image_path(record.id).read_bytes()
    assert (record.width, record.height, record.size_bytes) == (64, 48, len(data))
    assert (record.model, record.job, record.media_type) == ("toytown", "job-1", "image/png")
    assert library.image(record.id) == record


def test_other_studios_find_the_parameters_in_our_png(library, add):
    record = add()
    with Image.open(library.image_path(record.id)) as image:
        assert image.info["parameters"] == record.infotext


def test_everything_is_there_after_a_restart(library, settings, database, add):
    records = [add(seed=seed) for seed in range(3)]
    library.set_favourite(records[1].id, True)
    before = library.images()
    database.close()
    assert Library(settings, Database(settings.database)).images() == before


# -- searching ------------------------------------------------------------------------------------------


@pytest.fixture(params=["full text search", "without it"])
def searchable(request, settings, database, monkeypatch):
    if request.param == "without it":
        monkeypatch.setattr(index, "_fts5_is_built_in", lambda connection: False)
    library = Library(settings, database)

    def add(seed, prompt, negative_prompt="", model="toytown", job=""):
        wanted = GenerateRequest(seed=seed, prompt=prompt, negative_prompt=negative_prompt)
        return library.add(Image.new("RGB", (8, 8)), wanted, ModelFacts(model), job=job)

    library.made = [
        add(1, "a red ball on grass", "blurry"),
        add(2, "a Blue house, (red:1.2) roof", model="other", job="j"),
        add(3, "eine Kühltruhe, 赤いボール"),
        add(4, "100% wool_sock"),
    ]
    return library


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("", [4, 3, 2, 1]),
        ("red", [2, 1]),
        ("RED Ball", [1]),
        ("ball red", [1]),
        ("re gra", [1]),
        ("blurry", [1]),
        ("red missing", []),
        ("blue,", [2]),
        ("(red:1.2)", [2]),
        ("赤い", [3]),
        ("ボール", [3]),
        ("... !!", [4, 3, 2, 1]),
    ],
)
def test_all_words_must_be_there_and_beginnings_do(searchable, text, seeds):
    assert found(searchable, text) == seeds


@pytest.mark.parametrize(
    "text",
    [
        '"', "'", '" OR 1=1 --', "red) OR (blue", "NEAR(red blue)", "prompt : red", "red*", "^red", "-red",
        "red AND", "{red}", "a\0b", "%", "_", "\\", "'; DROP TABLE images; --", "NOT x", '""" x', "🙂", "½ ²",
    ],
)  # fmt: skip
def test_queries_that_look_like_programs_are_only_words(searchable, text):
    searchable.images(ImageQuery(text=text))
    assert len(found(searchable)) == 4


def test_or_is_a_word_like_any_other(searchable):
    assert found(searchable, "ball OR house") == []


def test_percent_and_underscore_are_no_wildcards(searchable):
    assert found(searchable, "100%") == [4]
    assert found(searchable, "wool_sock") == [4]


def test_conditions_hold_together(searchable):
    assert found(searchable, "red", model="other") == [2]
    assert found(searchable, job="j") == [2]
    searchable.set_favourite(searchable.made[0].id, True)
    assert found(searchable, favourites=True) == [1]
    assert found(searchable, "house", favourites=True) == []


def test_days_are_counted_from_and_to_inclusively(searchable):
    tomorrow, yesterday = TODAY + timedelta(days=1), TODAY - timedelta(days=1)
    assert len(found(searchable, since=TODAY, until=TODAY)) == 4
    assert found(searchable, since=tomorrow) == []
    assert found(searchable, until=yesterday) == []
    assert found(searchable, since=date(1, 1, 1), until=date(9999, 12, 31)) == [4, 3, 2, 1]


def test_pages_tell_how_many_there_are_in_all(searchable):
    page = searchable.images(ImageQuery(text="a", offset=1, limit=1))
    assert len(page.images) == 1
    assert page.total == len(found(searchable, "a")) > 1


def test_the_last_page_that_a_query_can_name_is_empty(searchable):
    page = searchable.images(ImageQuery(offset=MAX_OFFSET))
    assert (page.images, page.total) == ((), 4)


def test_full_text_search_is_filled_in_when_it_comes_later(settings, database, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(index, "_fts5_is_built_in", lambda connection: False)
        early = Library(settings, database)
        early.add(Image.new("RGB", (8, 8)), GenerateRequest(prompt="a red ball", seed=1))
    assert found(Library(settings, database), "ball") == [1]


def test_a_record_of_a_foreign_vocabulary_still_shows_its_words(library, database, add):
    record = add()
    database.connect().execute('UPDATE images SET request = \'{"kind": "painted"}\'')
    assert library.image(record.id).request.prompt == "a red ball"


# -- favourites, deleting, undoing ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "image_id", ["", "nothing", "../../etc/passwd", "..", "/etc/passwd", "a/../b", "%2e%2e", "x" * 9999, "\0"]
)
def test_an_id_that_names_nothing_is_never_a_path(library, add, image_id):
    add()
    asked = [
        library.image,
        library.image_path,
        library.thumbnail_path,
        lambda each: library.set_favourite(each, True),
        lambda each: library.delete_images([each]),
        lambda each: library.export_images([each]),
        library.undo_delete,
        library.blob,
    ]
    for ask in asked:
        with pytest.raises(NotFound):
            ask(image_id)


def test_deleting_moves_to_the_trash_and_undoing_restores_exactly(library, settings, add):
    records = [add(seed=seed) for seed in range(5)]
    library.set_favourite(records[2].id, True)
    before, files_before = library.images(), everything(settings.outputs)
    contents = {record.id: library.image_path(record.id).read_bytes() for record in records}
    token = library.delete_images([records[3].id, records[2].id])
    assert found(library) == [4, 1, 0]
    assert len(everything(settings.outputs)) == 3
    assert library.undo_delete(token) == (records[3].id, records[2].id)
    assert library.images() == before
    assert everything(settings.outputs) == files_before
    assert {record.id: library.image_path(record.id).read_bytes() for record in records} == contents


def test_deleted_images_are_not_found_in_any_way(library, add):
    record = add()
    library.delete_images([record.id])
    assert found(library, "ball") == []
    for ask in (library.image, library.image_path, library.thumbnail_path):
        with pytest.raises(NotFound, match=r"no image .* may have been deleted"):
            ask(record.id)


def test_nothing_is_deleted_where_one_of_them_is_unknown(library, add):
    record = add()
    with pytest.raises(NotFound):
        library.delete_images([record.id, "nothing"])
    assert found(library) == [7]


def test_a_deletion_is_undone_once(library, add):
    token = library.delete_images([add().id])
    library.undo_delete(token)
    with pytest.raises(NotFound, match="nothing left to undo"):
        library.undo_delete(token)


def test_deletions_are_undone_apart_from_each_other(library, add):
    first, second = (library.delete_images([add(seed=seed).id]) for seed in (1, 2))
    library.undo_delete(first)
    assert found(library) == [1]
    library.undo_delete(second)
    assert found(library) == [2, 1]


def test_a_new_image_never_takes_a_deleted_ones_place(library, add):
    token = library.delete_images([add(seed=1).id])
    add(seed=1)
    library.undo_delete(token)
    assert found(library) == [1, 1]
    assert len({library.image_path(record.id) for record in library.images().images}) == 2


def test_the_trash_is_emptied_after_a_month(library, settings, add, monkeypatch):
    token = library.delete_images([add().id])
    library.reconcile()
    assert len(everything(settings.data_dir / "trash")) == 1
    monkeypatch.setattr(library_module, "TRASH_DAYS", 0)
    library.reconcile()
    assert everything(settings.data_dir / "trash") == []
    with pytest.raises(NotFound):
        library.undo_delete(token)


# -- thumbnails, exports, uploads -----------------------------------------------------------------------


def test_a_thumbnail_is_a_small_webp_made_once(library):
    record = library.add(Image.new("RGB", (1024, 512), "red"), GenerateRequest(seed=1))
    path = library.thumbnail_path(record.id)
    with Image.open(path) as thumbnail:
        assert (thumbnail.format, thumbnail.size) == ("WEBP", (256, 128))
    os.utime(path, (1, 1))
    assert library.thumbnail_path(record.id).stat().st_mtime == 1


def test_an_export_holds_the_files_as_they_are(library, add):
    records = [add(seed=seed) for seed in (1, 2)]
    export = library.export_images([record.id for record in records])
    assert export.count == 2
    with zipfile.ZipFile(export.path) as archive:
        assert archive.testzip() is None
        kept = {hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}
    assert kept == {
        hashlib.sha256(library.image_path(record.id).read_bytes()).hexdigest() for record in records
    }


def test_an_exports_names_are_unique_and_no_paths(library, settings, add):
    original = library.image_path(add().id)
    for name in ("x\\..\\..\\evil.png", "con:aux.png", "a_b.png", "a b.png", "A_B.png"):
        (settings.outputs / name).write_bytes(original.read_bytes())
    (settings.outputs / "a").mkdir()
    (settings.outputs / "a" / "b.png").write_bytes(original.read_bytes())
    library.reconcile()
    export = library.export_images([record.id for record in library.images().images])
    with zipfile.ZipFile(export.path) as archive:
        names = archive.namelist()
    assert len(names) == len({name.lower() for name in names}) == 7
    assert all(re.fullmatch(r"[\w ()+-][\w. ()+-]*", name) for name in names)


def test_an_image_chosen_twice_is_exported_once(library, add):
    record = add()
    assert library.export_images([record.id, record.id]).count == 1


def test_exporting_nothing_is_refused_with_a_sentence(library):
    with pytest.raises(InvalidRequest, match="Select the images"):
        library.export_images([])


def test_old_exports_are_removed(library, add, monkeypatch):
    record = add()
    old = library.export_images([record.id]).path
    os.utime(old, (1, 1))
    library.export_images([record.id])
    assert not old.exists()
    assert files.EXPORT_DAYS >= 1


def test_an_upload_is_kept_once_under_its_hash(library, settings):
    data = a_png()
    assert library.put_blob(data) == library.put_blob(data) == hashlib.sha256(data).hexdigest()
    assert library.blob(hashlib.sha256(data).hexdigest()) == data
    assert len(everything(settings.blobs)) == 1


@pytest.mark.parametrize("data", [b"", b"no picture", a_png()[:60]])
def test_an_upload_that_is_no_whole_picture_leaves_nothing(library, settings, data):
    with pytest.raises(ImageError):
        library.put_blob(data)
    assert everything(settings.data_dir / "blobs") == []


def aged(settings):
    for path in settings.blobs.rglob("*"):
        os.utime(path, (1, 1))


def test_uploads_that_an_image_needs_are_never_collected(library, settings, add):
    needed, waiting, idle = (library.put_blob(a_png(colour)) for colour in ("red", "green", "blue"))
    record = add(source=SourceImage(image=needed))
    aged(settings)
    library.delete_images([record.id])
    assert library.collect_blobs(keep={waiting}) == 1
    assert library.blob(needed)
    assert library.blob(waiting)
    with pytest.raises(NotFound):
        library.blob(idle)


def test_pictures_of_the_stack_are_kept_as_long_as_its_image(library, settings, add):
    image, mask, pattern, reference, idle = (
        library.put_blob(a_png(colour)) for colour in ("red", "green", "blue", "white", "black")
    )
    control = ControlInput(model="c", image=image, mask=mask, preprocessor=Inpaint(mask=pattern))
    prompt = ImagePrompt(model="i", images=(reference,))
    add(controls=(control,), image_prompts=(prompt,))
    aged(settings)
    assert library.collect_blobs() == 1
    assert all(map(library.blob, (image, mask, pattern, reference)))
    with pytest.raises(NotFound):
        library.blob(idle)


def test_an_upload_handed_in_again_counts_as_new(library, settings):
    data = a_png()
    library.put_blob(data)
    aged(settings)
    library.put_blob(data)
    assert library.collect_blobs() == 0


def test_an_upload_that_is_read_counts_as_used(library, settings):
    """A page that is opened again shows the pictures of its form."""
    shown, idle = library.put_blob(a_png("red")), library.put_blob(a_png("green"))
    aged(settings)
    library.blob(shown)
    assert library.collect_blobs() == 1
    assert library.blob(shown)
    with pytest.raises(NotFound):
        library.blob(idle)


def test_a_picture_is_kept_for_thirty_days_after_its_last_use(library, settings):
    young, old = library.put_blob(a_png("red")), library.put_blob(a_png("green"))
    for blob_id, days in ((young, 29), (old, 31)):
        moment = time.time() - days * 86_400
        os.utime(settings.blobs / blob_id[:2] / blob_id, (moment, moment))
    assert library.collect_blobs() == 1
    assert library.blob(young)


def test_uploads_that_nobody_needs_go_after_the_start(library, settings, add):
    needed, waiting, idle = (library.put_blob(a_png(colour)) for colour in ("red", "green", "blue"))
    token = library.delete_images([add(source=SourceImage(image=needed)).id])
    aged(settings)
    library.start(lambda: {waiting})
    end = time.monotonic() + 20
    while (settings.blobs / idle[:2] / idle).exists():
        assert time.monotonic() < end
        time.sleep(0.01)
    library.close()
    (image_id,) = library.undo_delete(token)
    assert library.blob(library.image(image_id).request.source.image)
    assert library.blob(waiting)


def test_uploads_stay_while_files_are_without_their_records(library, settings, monkeypatch):
    """An image whose record is lost may need them."""

    failed, asked = threading.Event(), threading.Event()

    def unreadable(recovery):
        failed.set()
        raise OSError("The disk is gone.")

    monkeypatch.setattr("studio.storage.recovery.Recovery.index_orphans", unreadable)
    idle = library.put_blob(a_png())
    aged(settings)
    library.start(lambda: asked.set() or ())
    assert failed.wait(20)
    assert not asked.wait(0.2)
    library.close()
    assert library.blob(idle)


# -- settings out of files ------------------------------------------------------------------------------


def test_a_model_is_looked_up_by_the_name_and_hash_in_the_file(settings, database):
    def resolve(name, digits, kind):
        return "new-id" if (name, digits, kind) == ("toytown", "ab" * 32, ModelKind.CHECKPOINT) else None

    library = Library(settings, database, resolve)
    request = GenerateRequest(seed=1, model="old-id")
    record = library.add(Image.new("RGB", (8, 8)), request, ModelFacts("toytown", "ab" * 32))
    imported = library.read_settings(library.image_path(record.id).read_bytes())
    assert (imported.request.model, imported.warnings) == ("new-id", ())


def test_a_model_that_is_not_here_is_named(settings, database):
    library = Library(settings, database, lambda name, digits, kind: None)
    record = library.add(Image.new("RGB", (8, 8)), GenerateRequest(seed=1, model="x"), ModelFacts("gone"))
    imported = library.read_settings(library.image_path(record.id).read_bytes())
    assert imported.request.model == ""
    assert imported.warnings == ("The checkpoint 'gone' is not here; the active one is used instead.",)


STACK = {
    "loras": (
        LoraInput(model="water (lora)", weight=0.8),
        LoraInput(model="off", enabled=False, start=0.5, blocks=BlockWeights(mid=0)),
    ),
    "hypernetworks": (HypernetworkInput(model="chalk", weight=0.5),),
}
FACTS = (
    NetworkFact(id="water (lora)", kind=ModelKind.LORA, name="water", hash="aa" * 32),
    NetworkFact(id="cat", kind=ModelKind.EMBEDDING, name="cat", hash="bb" * 32),
)


def test_the_model_that_knew_the_boxes_is_no_network_of_the_prompt(settings, database):
    fact = NetworkFact(id="boxes", kind=ModelKind.GLIGEN, name="Boxes")
    library = Library(settings, database, lambda name, digits, kind: None)
    box = BoxInput(box=Box(x0=0.1, y0=0.4, x1=0.5, y1=0.9), phrase="a ball")
    request = GenerateRequest(seed=1, boxes=Boxes(boxes=(box,)))
    record = library.add(Image.new("RGB", (8, 8)), request, ModelFacts(networks=(fact,)))
    imported = library.read_settings(library.image_path(record.id).read_bytes())
    assert (imported.request, imported.warnings) == (request, ())


def test_the_stack_is_restored_from_the_index_and_from_the_file(settings, database):
    here = {"aa" * 32: "water, renamed", "bb" * 32: "cat"}
    library = Library(settings, database, lambda name, digits, kind: here.get(digits))
    request = GenerateRequest(seed=1, prompt="a cat", **STACK)
    record = library.add(Image.new("RGB", (8, 8)), request, ModelFacts(networks=FACTS))
    assert library.image(record.id).request == request
    assert "a cat <lora:water:0.8>" in record.infotext
    imported = library.read_settings(library.image_path(record.id).read_bytes())
    first, *others = request.loras
    loras = (first.model_copy(update={"model": "water, renamed"}), *others)
    assert imported.request == request.model_copy(update={"loras": loras})
    assert imported.warnings == ()


def test_networks_of_our_own_image_that_are_not_here_are_named(settings, database):
    library = Library(settings, database, lambda name, digits, kind: None)
    record = library.add(
        Image.new("RGB", (8, 8)), GenerateRequest(seed=1, **STACK), ModelFacts(networks=FACTS)
    )
    imported = library.read_settings(library.image_path(record.id).read_bytes())
    assert [entry.model for entry in imported.request.loras] == ["off"]
    assert imported.warnings == (
        "The LoRA 'water' is not here; it was left out.",
        "The embedding 'cat' is not here; its name is read as plain words.",
    )


def test_a_control_without_its_picture_is_left_out_and_the_source_stays(library, settings, add):
    source, image = library.put_blob(a_png("red")), library.put_blob(a_png("green"))
    record = add(
        source=SourceImage(image=source),
        inpaint=InpaintMask(mask=source),
        boxes=Boxes(boxes=(BoxInput(box=Box(x0=0, y0=0, x1=1, y1=1), phrase="ball"),)),
        controls=(ControlInput(model="c", image=image),),
    )
    data = library.image_path(record.id).read_bytes()
    assert library.read_settings(data).request == record.request
    (settings.blobs / image[:2] / image).unlink()
    imported = library.read_settings(data)
    assert imported.request == record.request.model_copy(update={"controls": ()})
    assert imported.request.inpaint
    assert imported.request.boxes
    assert imported.warnings == (
        "The ControlNet 'c' was left out: its picture is not here. Add it to get the same result.",
    )


def test_a_source_picture_of_the_store_is_restored_and_a_missing_one_named(library, settings, add):
    blob_id = library.put_blob(a_png())
    data = library.image_path(add(source=SourceImage(image=blob_id)).id).read_bytes()
    assert library.read_settings(data).request.source == SourceImage(image=blob_id)
    (settings.blobs / blob_id[:2] / blob_id).unlink()
    imported = library.read_settings(data)
    assert imported.request.source is None
    assert "made from is not here" in imported.warnings[0]


def test_settings_are_read_from_pasted_text(library, add):
    record = add()
    imported = library.read_infotext(record.infotext)
    assert imported.request == record.request
    assert imported.infotext == record.infotext


def test_an_infotext_is_told_key_by_key_from_file_and_text(library, add):
    box = BoxInput(box=Box(x0=0.1, y0=0.4, x1=0.5, y1=0.9), phrase="a red, round ball")
    record = add(prompt="a ball", negative_prompt="a box", boxes=Boxes(boxes=(box,)))
    told = library.read_infotext(record.infotext).parameters
    assert told == library.read_settings(library.image_path(record.id).read_bytes()).parameters
    assert (told["Prompt"], told["Negative prompt"], told["Size"]) == ("a ball", "a box", "512x512")
    assert json.loads(told["GLIGEN"])["boxes"][0]["phrase"] == "a red, round ball"


# -- order after a crash --------------------------------------------------------------------------------


def test_a_lost_index_is_rebuilt_from_the_files(library, settings, database, add):
    formats = ("png", "jpeg", "webp")
    records = [add(seed=i, output=OutputOptions(format=each)) for i, each in enumerate(formats)]
    database.close()
    for file in settings.data_dir.glob("easel.sqlite*"):
        file.unlink()
    reborn = Library(settings, Database(settings.database))
    assert reborn.reconcile() == 3
    assert [reborn.image(record.id) for record in records] == records
    assert found(reborn, "ball") == [2, 1, 0]


def test_a_file_put_there_by_hand_is_found_at_the_next_start(library, settings, add):
    original = library.image_path(add(seed=5).id)
    (settings.outputs / "mine").mkdir()
    (settings.outputs / "mine" / "copy.png").write_bytes(original.read_bytes())
    assert library.reconcile() == 1
    assert found(library) == [5, 5]
    assert len({record.id for record in library.images().images}) == 2


def test_another_studios_picture_put_there_by_hand_is_found_too(library, settings):
    texts = PngInfo()
    texts.add_text("parameters", "a cat\nSteps: 9, Sampler: Euler, Seed: 3, Size: 64x64, Model: dream")
    settings.outputs.mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(settings.outputs / "cat.png", pnginfo=texts)
    assert library.reconcile() == 1
    record = library.images().images[0]
    assert (record.prompt, record.model, record.seed, record.request.steps) == ("a cat", "dream", 3, 9)


def test_files_without_settings_and_links_are_left_alone(library, settings, tmp_path):
    settings.outputs.mkdir(parents=True)
    (settings.outputs / "photo.png").write_bytes(a_png())
    (settings.outputs / "broken.png").write_bytes(a_png()[:50])
    (settings.outputs / "notes.txt").write_text("x")
    (settings.outputs / "link.png").symlink_to(tmp_path / "elsewhere.png")
    assert library.reconcile() == 0
    assert len(everything(settings.outputs)) == 3


def test_a_record_whose_file_is_gone_is_hidden_until_it_is_back(library, add, tmp_path):
    record = add()
    library.set_favourite(record.id, True)
    path = library.image_path(record.id)
    path.rename(tmp_path / "away.png")
    library.reconcile()
    assert library.images().total == 0
    (tmp_path / "away.png").rename(path)
    library.reconcile()
    assert library.image(record.id).favourite


def test_a_file_is_where_the_index_says_after_half_a_deletion(library, settings, add, monkeypatch):
    record = add()
    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", lambda *paths: (_ for _ in ()).throw(OSError("pulled plug")))
        with pytest.raises(OSError, match="pulled plug"):
            library.delete_images([record.id])
    assert len(everything(settings.outputs)) == 1
    library.reconcile()
    assert everything(settings.outputs) == []
    assert library.images().total == 0


def test_the_start_brings_files_and_index_together_in_the_background(settings, database, add):
    for seed in range(3):
        add(seed=seed)
    database.connect().execute("DELETE FROM images")
    reborn = Library(settings, database)
    reborn.start()
    deadline = time.monotonic() + 10
    while reborn.images().total < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    reborn.close()
    assert reborn.images().total == 3


def test_closing_stops_the_housekeeping_at_once(settings, database, add):
    add()
    database.connect().execute("DELETE FROM images")
    closed = Library(settings, database)
    closed.close()
    assert closed.reconcile() == 0
