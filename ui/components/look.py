"""Pictures that say how the result should look (image prompts). The behaviour is in `assets/js/look.js`."""

from __future__ import annotations

from ui.components.editors import LINE, file_button, tool, tools

BEHAVIOUR = ("history.js", "look.js")


def look_html() -> str:
    return (
        '<section class="editor look" aria-label="Look">'
        f'<div class="editor-bar">{_tools()}</div>'
        '<div class="look-well"><ol class="pictures"></ol><p class="hint">Drop pictures here. The result '
        f"follows their look; several are blended.</p></div>{LINE}</section>"
    )


def _tools() -> str:
    return tools(
        "Pictures",
        file_button("Add pictures", "photo", "image/*", many=True),
        tool("clear", "Clear", "Take all pictures away"),
    )
