"""The page against the stand-in, for looking at it: `python -m tests.ui.serve_fake [port] [step_seconds]`."""

import sys
import tempfile
from pathlib import Path

import gradio as gr
import uvicorn

from studio.api.app import create_app
from studio.core.requests import GenerateRequest
from studio.core.settings import Settings
from tests.fakes import FakeStudio
from ui.app import create_page, page_kwargs


def app_for(studio, settings):
    """The server as it is in production: both APIs, the guard, and the page on top."""
    app = create_app(studio, settings)
    return gr.mount_gradio_app(app, create_page(studio, settings), path="/", **page_kwargs(settings))


def main() -> None:
    port = int(sys.argv[1]) if len(sys.argv) > 1 else 7861
    step_seconds = float(sys.argv[2]) if len(sys.argv) > 2 else 0.15
    folder = Path(tempfile.mkdtemp(prefix="easel-fake-"))
    studio = FakeStudio(folder, step_seconds=step_seconds)
    for seed in range(70):
        words = (
            "a red ball on grass",
            "a blue house at night",
            "two cats and a star",
            "a yellow car on sand",
        )
        studio.add_image(
            GenerateRequest(prompt=words[seed % 4], seed=seed, width=256, height=256 + 64 * (seed % 3))
        )
    studio.start()
    uvicorn.run(app_for(studio, Settings(data_dir=folder, port=port)), port=port, log_level="warning")


if __name__ == "__main__":
    main()
