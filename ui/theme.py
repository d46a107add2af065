"""The look: linen, ink and madder by day; charcoal and terracotta by night. All fonts are local."""

from __future__ import annotations

from gradio.themes import Base
from gradio.themes.utils import colors, fonts, sizes

MADDER = colors.Color(
    c50="#fdf3f0",
    c100="#fae3dc",
    c200="#f3c6b9",
    c300="#e9a28f",
    c400="#dd7c64",
    c500="#cc5a40",
    c600="#b3432b",
    c700="#943623",
    c800="#782e20",
    c900="#63291f",
    c950="#37130d",
    name="madder",
)

LINEN = colors.Color(
    c50="#fbf9f5",
    c100="#f5f1ea",
    c200="#e9e2d6",
    c300="#d8cfbf",
    c400="#a99f90",
    c500="#7d7468",
    c600="#5e574e",
    c700="#463f38",
    c800="#2e2925",
    c900="#211d1a",
    c950="#171412",
    name="linen",
)

SYSTEM_SANS = ("ui-sans-serif", "system-ui", "sans-serif")

_PAGE = {
    "body_background_fill": "*neutral_100",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_800",
    "body_text_color_dark": "#ece5da",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "#b0a595",
    "background_fill_primary": "*neutral_50",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary": "*neutral_100",
    "background_fill_secondary_dark": "*neutral_950",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "#3a342e",
    "link_text_color": "*primary_700",
    "link_text_color_dark": "*primary_300",
}

_BLOCKS = {
    "block_background_fill": "transparent",
    "block_background_fill_dark": "transparent",
    "block_border_width": "0px",
    "block_padding": "0px",
    "block_shadow": "none",
    "block_label_text_weight": "500",
    "block_title_text_size": "*text_sm",
    "block_title_text_weight": "500",
    "block_title_text_color": "*neutral_600",
    "block_title_text_color_dark": "#c9bfb0",
    "block_info_text_size": "*text_xs",
    "form_gap_width": "0px",
    "layout_gap": "12px",
}

_INPUTS = {
    "input_background_fill": "*neutral_50",
    "input_background_fill_dark": "*neutral_900",
    "input_border_width": "1px",
    "input_border_color": "*neutral_300",
    "input_border_color_dark": "#4a433b",
    "input_border_color_focus": "*primary_600",
    "input_border_color_focus_dark": "*primary_400",
    "input_placeholder_color": "#726859",
    "input_placeholder_color_dark": "#9a9082",
    "input_padding": "8px 10px",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "checkbox_background_color_selected": "*primary_600",
    "checkbox_background_color_selected_dark": "*primary_500",
    "checkbox_border_color_selected": "*primary_600",
}

_BUTTONS = {
    "button_border_width": "1px",
    "button_primary_background_fill": "*primary_600",
    "button_primary_background_fill_hover": "*primary_700",
    "button_primary_background_fill_dark": "*primary_600",
    "button_primary_background_fill_hover_dark": "*primary_700",
    "button_primary_border_color": "*primary_700",
    "button_primary_text_color": "white",
    "button_secondary_background_fill": "*neutral_50",
    "button_secondary_background_fill_hover": "*neutral_200",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "button_secondary_border_color": "*neutral_300",
    "button_secondary_border_color_dark": "#4a433b",
    "button_secondary_text_color": "*neutral_800",
    "button_secondary_text_color_dark": "#ece5da",
    "button_transform_active": "none",
    "button_small_text_size": "13px",
    "button_small_text_weight": "600",
}


def easel_theme() -> Base:
    """A new instance of the theme; Gradio writes into the one it is given."""
    theme = Base(
        primary_hue=MADDER,
        secondary_hue=MADDER,
        neutral_hue=LINEN,
        spacing_size=sizes.spacing_md,
        radius_size=sizes.radius_md,
        text_size=sizes.text_md,
        font=(fonts.LocalFont("IBM Plex Sans", weights=(400, 700)), *SYSTEM_SANS),
        font_mono=(fonts.LocalFont("IBM Plex Mono"), "ui-monospace", "monospace"),
    )
    theme.name = "easel"
    return theme.set(**_PAGE, **_BLOCKS, **_INPUTS, **_BUTTONS)
