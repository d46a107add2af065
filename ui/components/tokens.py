"""How much of the text encoder's window the prompt takes."""

from __future__ import annotations

from studio.core.protocol import TokenCount


def tokens_html(count: TokenCount | None) -> str:
    """Empty while nobody can count."""
    if count is None:
        return ""
    title = (
        "Tokens of the prompt, of those that fit. Longer prompts are read in chunks of 75; nothing is cut."
    )
    return f'<span class="tokens" title="{title}">{count.tokens} / {count.limit}</span>'
