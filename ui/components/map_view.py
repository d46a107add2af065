"""A photo and the map that is made from it, side by side and faded into each other.

The behaviour is in `assets/js/map_view.js`, the choice of the preprocessor in `ui.components.options`.
"""

from __future__ import annotations

from ui.components.editors import LINE, file_button, slider, tool, tools

BEHAVIOUR = ("history.js", "make_map.js", "map_view.js")


def map_view_html() -> str:
    return (
        '<section class="editor map-view" aria-label="Photo and map">'
        f'<div class="editor-bar">{tools("Photo", file_button("Choose a photo", "photo", "image/*"))}'
        f"{_map_tools()}</div>"
        '<div class="map-well"><figure class="one"><img class="photo" alt="Photo">'
        '<figcaption>Photo</figcaption></figure><figure class="both"><img class="photo" alt="">'
        '<img class="map" alt="Map">'
        '<figcaption>Map</figcaption></figure><p class="hint">Drop a photo here, or paste one.</p></div>'
        f'{LINE}<div class="editor-bar fade">{slider("fade", "Photo into map", 0, 1, 1, 0.01)}</div>'
        "</section>"
    )


def _map_tools() -> str:
    return tools(
        "Map",
        tool("draw", "Draw over", "Take the map to the sketch editor"),
        tool("save", "Download", "The map as PNG"),
    )
