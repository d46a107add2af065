"""How handlers are connected: the same way everywhere.

Handlers return a dict of updates by component. None of them waits: work goes through the studio's queue and
the page looks at it with a timer. So events bypass Gradio's own queue, cannot block each other, and hold no
connection open (a browser has six per server, which a few open tabs with event streams would use up).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block

from ui.problems import Updates, guarded

LAST_COUNTS: dict[str, Any] = {"trigger_mode": "always_last"}
"""Of several quick events the last is heard; by default Gradio drops those that come during the first.

Its inputs are read anew then. What the event itself brings is still the first one's: nothing may need that.
"""

ASSETS = Path(__file__).resolve().parents[1] / "assets"

_ACTIONS = """
const names = NAMES;
element.addEventListener('click', (event) => {
  const source = event.target.closest('[data-action]');
  if (!source || !names.includes(source.dataset.action)) return;
  event.preventDefault();
  trigger(source.dataset.action, {...source.dataset});
});
"""


_NEXT_TURN = "() => String(window.easelTurn = (window.easelTurn || 0) + 1)"

_INERT = str.maketrans({letter: f"&#{ord(letter)};" for letter in "`$\\{}"})
"""Letters by which a template would be evaluated, as entities: a markup is no program."""


def script(name: str) -> str:
    """Text of one of `assets/js`."""
    return (ASSETS / "js" / name).read_text(encoding="utf-8")


def live_html(*, actions: Sequence[str] = (), behaviour: str = "", **options: Any) -> gr.HTML:
    """A component whose value is escaped HTML from one of `ui.components`.

    Args:
        actions: names of events. A click on `data-action="name"` triggers that event with all its `data-*`.
        behaviour: a file of `assets/js` that runs once with `element`, `trigger`, `watch`.

    The template stays Gradio's `${value}`, which inserts the value as it is. What Handlebars tags insert is
    *evaluated* as JavaScript afterwards, so nothing that a person wrote may ever pass through one.
    """
    names = "[" + ", ".join(f"'{name}'" for name in actions) + "]"
    on_load = _ACTIONS.replace("NAMES", names) + (script(behaviour) if behaviour else "")
    return gr.HTML(js_on_load=on_load, apply_default_css=False, **options)


def editor_html(markup: str, behaviours: Sequence[str], *, facts: Any = None, **options: Any) -> gr.HTML:
    """A component with a life of its own in the browser: `markup` is written by us and stays as it is.

    Its value is what Python last told it (any JSON), which the script hears of by `watch('value', ...)`.

    Args:
        behaviours: files of `assets/js` that run once, as one script.
        facts: what the script knows as FACTS.
    """
    on_load = f"const FACTS = {json.dumps(facts)};\n" + "\n".join(map(script, behaviours))
    template = markup.translate(_INERT)
    return gr.HTML(html_template=template, js_on_load=on_load, apply_default_css=False, **options)


def place_among(inputs: AbstractSet[Block], part: Block) -> int:
    """At which place Gradio sends the value of `part`, one of a *set* of inputs: they go by their ids."""
    return sorted(component._id for component in inputs).index(part._id)


class Wiring:
    """Connects events to guarded handlers.

    Args:
        banner: where problems without a field are shown.
        seen: what the page has of the live parts. A handler may write to them, so it is forgotten after each.
    """

    def __init__(self, banner: gr.HTML, seen: gr.JSON) -> None:
        self._always = {banner: "", seen: {}}
        self.banner = banner

    def on(
        self,
        triggers: Any,
        handler: Callable[..., Updates],
        inputs: AbstractSet[Block] | Sequence[Block] | Block | None = None,
        outputs: Sequence[Block] = (),
        *,
        otherwise: Updates | None = None,
        field: str = "",
        **options: Any,
    ) -> Any:
        """When one of `triggers` fires, run `handler`. A *set* of inputs arrives as a dict by component.

        If it raises, the page gets the updates `otherwise`, and the sentence stands at the error's field or
        else at `field`.

        Values arrive as the browser sent them: our own types check them and name the field at fault, where
        Gradio's checks would end in a toast. Files are the exception, they need `preprocess=True`.
        """
        return gr.on(
            triggers,
            guarded(self.banner, handler, self._always, otherwise=otherwise, field=field),
            inputs,
            [*self._always, *outputs],
            **self._quiet(options),
        )

    def act(
        self,
        part: gr.HTML,
        action: str,
        handler: Callable[..., Updates],
        inputs: Any = None,
        outputs: Any = (),
        **options: Any,
    ) -> None:
        """When a person uses `action` of an own component (see `live_html`), run `handler`."""
        guard = guarded(self.banner, handler, self._always)
        getattr(part, action)(guard, inputs, [*self._always, *outputs], **self._quiet(options))

    def poll(
        self, triggers: Any, handler: Callable[..., Updates], inputs: Any, outputs: Any, **options: Any
    ) -> Any:
        """Like `on`, but leaves the banner alone: what nobody asked for must not clear what somebody did."""
        guard = guarded(self.banner, handler, {})
        return gr.on(triggers, guard, inputs, [self.banner, *outputs], **self._quiet(options))

    def in_browser(
        self, triggers: Any, js: str, inputs: Any = None, outputs: Any = None, **options: Any
    ) -> Any:
        """When one of `triggers` fires, run `js` in the browser; the server hears nothing of it."""
        return gr.on(triggers, None, inputs, outputs, js=js, **self._quiet(options))

    def turn(self, triggers: Any) -> list[Any]:
        """`triggers` as an event that nobody else hears.

        A handler whose event comes again while it runs ("always_last", the usual for changes) has its turn
        afterwards, and Gradio then tells the event to *all* who hear it. Two such handlers of one event would
        call each other for ever, so at most one may hear it, and the others hear turns of their own.
        """
        own = gr.Textbox("", visible="hidden", label="Turn")
        self.in_browser(triggers, _NEXT_TURN, None, own)
        return [own.change]

    @staticmethod
    def _quiet(options: dict[str, Any]) -> dict[str, Any]:
        return {
            "queue": False,
            "show_progress": "hidden",
            "api_visibility": "private",
            "preprocess": False,
            **options,
        }
