"""The Models tab and the stack, as a person uses them."""

import pytest
from playwright.sync_api import expect

from tests.browser.test_generate import number
from tests.fakes import ACTIVE

pytestmark = pytest.mark.browser


@pytest.fixture
def models(shared_page):
    shared_page.get_by_role("tab", name="Models").click()
    shared_page.get_by_label("Search models").fill("")
    expect(shared_page.locator(".model.unusable").first).to_be_visible()
    return shared_page


@pytest.fixture
def generate(shared_page):
    shared_page.get_by_role("tab", name="Generate").click()
    return shared_page


def test_a_broken_model_says_why_it_cannot_be_used(models):
    broken = models.locator(".model.unusable", has_text="Broken")
    expect(broken).to_contain_text("The file is cut off")
    expect(broken.locator("button")).to_have_count(0)


def test_models_are_filtered_by_kind_and_name(models):
    models.get_by_label("Search models").fill("xl")
    expect(models.locator(".model")).to_have_count(5)
    models.get_by_label("Kind").click()
    models.get_by_role("option", name="VAEs").click()
    expect(models.locator(".model")).to_have_count(1)
    models.get_by_label("Kind").click()
    models.get_by_role("option", name="All", exact=True).click()


def test_using_another_model_changes_the_stack(models, studio, monkeypatch):
    monkeypatch.setattr(studio, "active_model", ACTIVE)  # and so again at the end
    models.locator(".model", has_text="Large XL").locator("[data-action=activate]").click()
    expect(models.get_by_label("Model", exact=True).first).to_have_value("Large XL · SDXL")
    expect(models.locator(".model.active")).to_contain_text("Large XL")


def test_choosing_a_model_suggests_its_size(generate, studio):
    generate.locator("#field-model input").click()
    generate.get_by_role("option", name="Toytown").click()
    expect(number(generate, "width")).to_have_value("128")
    generate.locator("#field-model input").click()
    generate.get_by_role("option", name="Large XL").click()
    expect(number(generate, "width")).to_have_value("1024")
    assert studio.active_model == "fake/large"


def test_a_vae_of_another_family_is_refused_at_its_field(generate):
    generate.locator("#field-model input").click()
    generate.get_by_role("option", name="Large XL").click()
    generate.locator("#field-vae input").click()
    generate.get_by_role("option", name="Soft VAE").click()
    generate.click("#generate")
    expect(generate.locator("#field-vae .problem-note")).to_contain_text(
        "is for SD 1.x, but Large XL is SDXL"
    )


def test_an_install_shows_progress_pauses_and_resumes_to_its_end(models, studio, monkeypatch):
    monkeypatch.setattr(studio, "step_seconds", 0.05)
    row = models.locator(".catalogue li", has_text="TAESD")
    row.locator("[data-action=install]").click()
    expect(row.locator("progress[value]")).to_be_visible()
    row.locator("[data-action=cancel]").click()
    expect(row).to_contain_text("Paused")
    monkeypatch.setattr(studio, "step_seconds", 0.005)
    row.locator("[data-action=retry]").click()
    expect(row.locator(".badge")).to_have_text("Installed")
    expect(models.locator(".model", has_text="TAESD")).to_be_visible()


def test_an_image_prompt_is_installed_with_its_encoder(models, studio, monkeypatch):
    monkeypatch.setattr(studio, "step_seconds", 0.005)
    look, encoder = (models.locator(".catalogue li", has_text=name) for name in ("IP-Adapter", "CLIP ViT-H"))
    look.locator("[data-action=install]").first.click()
    expect(encoder.locator(".badge")).to_have_text("Installed")
    expect(look.locator(".badge")).to_have_text("Installed")


def test_the_catalogue_is_searched_and_stays_so_while_a_download_is_shown(models, studio, monkeypatch):
    monkeypatch.setattr(studio, "step_seconds", 0.005)
    find = models.get_by_label("Search what can be installed")
    find.fill("checkpoint 1.5")
    shown = models.locator(".catalogue li").filter(visible=True)
    expect(shown).to_have_count(1)
    shown.locator("[data-action=install]").click()
    expect(shown.locator(".badge")).to_have_text("Installed")
    expect(shown).to_have_count(1)
    find.fill("")
    expect(models.locator(".catalogue li", has_text="TAESD")).to_be_visible()


def test_a_wrong_hub_id_is_explained_at_its_field(models):
    models.get_by_label("Or any model by its id").fill("no id at all")
    models.click("#install")
    expect(models.locator("#field-repo .problem-note")).to_contain_text("Write it as owner/name")


def test_a_folder_that_is_not_there_is_explained_at_its_field(models):
    models.get_by_label("Folder on this computer").fill("/no/such/folder")
    models.click("#add-folder")
    expect(models.locator("#field-path .problem-note")).to_contain_text("There is no folder")


def test_a_folder_is_added_and_its_models_can_be_chosen(models, tmp_path):
    (tmp_path / "gouache.safetensors").write_bytes(b"")
    models.get_by_label("Folder on this computer").fill(str(tmp_path))
    models.click("#add-folder")
    expect(models.locator("#notice")).to_contain_text("1 more model")
    expect(models.locator(".model", has_text="gouache")).to_be_visible()


def test_a_model_file_is_imported_and_one_that_can_hold_code_is_refused(models):
    drop = models.locator("#field-import-model input[type=file]")
    drop.set_input_files({"name": "evil.ckpt", "mimeType": "application/octet-stream", "buffer": b"\x80"})
    note = models.locator("#field-import-model .problem-note")
    expect(note).to_contain_text("evil.ckpt can hold code.")
    expect(note).to_be_in_viewport()
    drop.set_input_files({"name": "fine.safetensors", "mimeType": "application/octet-stream", "buffer": b"1"})
    expect(models.locator("#notice")).to_contain_text("fine was imported.")


def test_memory_is_freed_on_request(models, studio):
    models.click("#unload")
    expect(models.locator("#notice")).to_contain_text("free")
    assert studio.status().components == ()
