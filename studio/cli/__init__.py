"""The command `easel`: one file a command, gathered here."""

from __future__ import annotations

import os
import sys

import typer

from studio.cli import bench, doctor, generate, lora, models, preprocess, serve
from studio.core.errors import EaselError

EPILOG = (
    "First steps:\n\neasel doctor\n\n"
    'easel generate "a red ball on grass" --seed 7 --out ball.png\n\n'
    "easel models add ~/stable-diffusion-webui/models"
)

app = typer.Typer(
    name="easel",
    help="Easel, a browser studio for controllable diffusion.\n\n`easel serve` opens the page; everything "
    "else works without it. Each command explains itself: easel COMMAND --help",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("serve", epilog=serve.EPILOG)(serve.serve)
app.command("generate", epilog=generate.EPILOG)(generate.generate)
app.command("doctor")(doctor.doctor)
app.add_typer(preprocess.app, name="preprocess")
app.add_typer(models.app, name="models")
app.add_typer(lora.app, name="lora")
app.add_typer(bench.app, name="bench")


ENVIRONMENT = {
    "DIFFUSERS_DISABLE_REMOTE_CODE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "GRADIO_ANALYTICS_ENABLED": "False",
}
"""What libraries read when they are imported: no code from the Hub, and nothing about this machine sent."""


def main() -> None:
    """Run the command line. What a person can mend is one sentence on stderr and exit status 1."""
    os.environ.update(ENVIRONMENT)
    try:
        app(prog_name="easel")
    except EaselError as error:
        sys.exit(f"easel: {error}")


__all__ = ["app", "main"]
