"""The stand-in studio, and the form of the Generate tab over it."""

import gradio as gr
import pytest

from tests.fakes import FakeStudio
from ui.form import Form
from ui.stack import Stack
from ui.tabs.generate_layout import GenerateLayout


@pytest.fixture
def studio(tmp_path):
    fake = FakeStudio(tmp_path, step_seconds=0.002)
    fake.start()
    yield fake
    fake.close()


@pytest.fixture
def form(studio):
    with gr.Blocks(analytics_enabled=False):
        built = Form()
        Stack(studio, built, session=gr.BrowserState({}), notice=gr.HTML(render=False))
        GenerateLayout(built)
    return built
