r"""Reads AUTOMATIC1111's prompt language into a tree.

| written                     | means                                                              |
|-----------------------------|--------------------------------------------------------------------|
| `(x)`, `[x]`, `(x:1.2)`     | attention x 1.1, / 1.1, x 1.2                                      |
| `[a:b:N]`, `[b:N]`, `[a::N]` | a until step N, then b; with a point (`0.5`), N is a share of steps |
| `[a|b|c]`                   | one of them each step, in turn                                     |
| `BREAK`                     | go on in a new chunk of 75 tokens                                  |
| `a AND b :0.5`              | two prompts at once, the second at half weight                     |
| `<lora:name:0.8>`           | a LoRA, as `<lyco:name:0.8>`; `<hypernet:name:0.8>` a hypernetwork |
| `<LORA:name:0.8>`           | nothing, nor is it text: so for any other word before the colon    |
| `\(`                        | the bracket itself; so with `\ [ ] ) : \| <`                      |

AUTOMATIC1111 takes what does not parse as text. Here unbalanced brackets and half-written constructs are
errors that point at the character; colons, bars, numbers and brackets that match are never an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer

from studio.core.errors import PromptError
from studio.diffusion.prompt.syntax import (
    Alternation,
    Break,
    ComposedPart,
    Emphasis,
    Node,
    ParsedPrompt,
    Switch,
    Text,
)
from studio.diffusion.prompt.tags import parse_tag

EMPHASIS = 1.1
"""What one pair of round brackets multiplies attention by, and one of square brackets divides it by."""

MAX_WEIGHT = 100.0
_FARTHEST = 1e9
"""Step of a switch that is as good as never; what is written may exceed what a number can hold."""

MAX_DEPTH = 50
"""Brackets inside brackets; also the depth of recursion when a tree is read."""

MAX_PARTS = 16
"""Texts that AND may compose: each is one more picture that the UNet sees in every step, all at once."""

# A number is written so that it can be read in one way only: where a text reads like one but is none, each of
# its digits is then looked at once, and a prompt of digits takes as long as one of words.
_GRAMMAR = r"""
    start: part (AND part)*
    part: (item | mark | _TAG | _STRAY_TAG)* PART_WEIGHT?

    round: OPEN_ROUND (item | mark | _TAG | _STRAY_TAG)* (CLOSE_ROUND | WEIGHT)
    square: OPEN_SQUARE (item | separator | _TAG | _STRAY_TAG)* (CLOSE_SQUARE | SWITCH)

    ?item: text | new_chunk | round | square
    text: TEXT | ANGLE | HALF_TAG
    mark: COLON | PIPE
    separator: COLON | PIPE
    new_chunk: BREAK

    OPEN_ROUND: "("
    CLOSE_ROUND: ")"
    OPEN_SQUARE: "["
    CLOSE_SQUARE: "]"
    COLON: ":"
    PIPE: "|"
    ANGLE: "<"
    AND.2: /\bAND\b/
    BREAK.2: /\bBREAK\b/
    WEIGHT.2: /:\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*\)/
    SWITCH.2: /:\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*\]/
    PART_WEIGHT.2: /:\s*[+-]?(\d+(\.\d*)?|\.\d+)\s*(?=\bAND\b|\Z)/
    _TAG.4: /<(lora|lyco|hypernet):[^<>]*>/
    HALF_TAG.3: /<(lora|lyco|hypernet):/
    _STRAY_TAG.2: /<\w+:[^<>]+>/
    TEXT: /((?!\b(AND|BREAK)\b)[^\\()\[\]:|<]|\\.|\\\Z)+/s
"""

_PAIRS = {"(": ")", "[": "]"}
_Content: TypeAlias = "Node | Token"


def parse_prompt(prompt: str) -> ParsedPrompt:
    """Parse a prompt.

    Raises:
        PromptError: brackets do not match, or a construct is half-written.
    """
    return _parse(prompt, "prompt")


def parse_negative_prompt(prompt: str) -> ParsedPrompt:
    """Parse a negative prompt, which is one part: guidance leads away from a single text.

    Raises:
        PromptError: as for `parse_prompt`, or it holds AND.
    """
    return _parse(prompt, "negative_prompt")


def _parse(prompt: str, field: str) -> ParsedPrompt:
    try:
        tokens = list(_parser().lex(prompt))
        _check_nesting(tokens)
        if field == "negative_prompt":
            _check_not_composed(tokens)
        _check_part_count(tokens)
        tags = tuple(parse_tag(str(token), token.start_pos or 0) for token in tokens if token.type == "_TAG")
        strays = tuple(str(token) for token in tokens if token.type == "_STRAY_TAG")
        parts: Any = _parser().parse(prompt)
    except PromptError as error:
        error.field = field
        raise
    return ParsedPrompt(parts, tags, strays)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Builder())


def _check_nesting(tokens: Iterable[Token]) -> None:
    """After this check, any sequence of tokens fits the grammar."""
    opened: list[Token] = []
    for token in tokens:
        if token.type in ("OPEN_ROUND", "OPEN_SQUARE"):
            opened.append(token)
            if len(opened) > MAX_DEPTH:
                raise _error(f"Brackets may be nested {MAX_DEPTH} deep, and this is one more.", token)
        elif token.type in ("CLOSE_ROUND", "WEIGHT", "CLOSE_SQUARE", "SWITCH"):
            _check_closing(token, opened.pop() if opened else None)
        elif token.type == "HALF_TAG":
            raise _error(f"The tag {token}... has no closing >.", token, "Write <lora:name:weight>.")
        elif token.type == "AND" and opened:
            raise _error(
                "AND composes whole prompts, but here it stands inside brackets.",
                token,
                "Move it outside of the brackets, or write 'and'.",
            )
    if opened:
        bracket = opened[-1]
        raise _error(
            f"The bracket {bracket} is never closed: a {_PAIRS[bracket]} is missing.",
            bracket,
            f"Close it, or write \\{bracket} for a plain bracket.",
        )


def _check_not_composed(tokens: Iterable[Token]) -> None:
    for token in tokens:
        if token.type == "AND":
            raise _error(
                "A negative prompt is one text, but AND composes several.", token, "Write a comma instead."
            )


def _check_part_count(tokens: Iterable[Token]) -> None:
    operators = [token for token in tokens if token.type == "AND"]
    if len(operators) >= MAX_PARTS:
        raise _error(
            f"AND may compose {MAX_PARTS} prompts, and here begins one more.",
            operators[MAX_PARTS - 1],
            "Write a comma instead, or leave some out.",
        )


def _check_closing(closing: Token, opening: Token | None) -> None:
    bracket, end = closing[-1], (closing.end_pos or 1) - 1
    if opening is None:
        raise PromptError(
            f"The bracket {bracket} closes nothing: no bracket is open here.",
            f"Remove it, or write \\{bracket} for a plain bracket.",
            position=end,
        )
    if _PAIRS[opening] != bracket:
        raise PromptError(
            f"The {opening} at character {(opening.start_pos or 0) + 1} needs a {_PAIRS[opening]} here,"
            f" but there is a {bracket}.",
            f"Write \\{bracket} for a plain bracket.",
            position=end,
        )


class _Builder(Transformer[Token, Any]):
    """From lark's rules to our tree; each method is named after its rule."""

    def start(self, children: list[Any]) -> tuple[ComposedPart, ...]:
        parts: list[_Content] = children[::2]
        if len(parts) == 1:
            return (_lone_part(children[0]),)
        for i, operator in enumerate(children[1::2]):
            if _is_blank(children[2 * i]) or _is_blank(children[2 * i + 2]):
                raise _error("AND needs words on both of its sides.", operator)
        return tuple(_composed_part(part) for part in children[::2])

    def part(self, children: list[_Content]) -> list[_Content]:
        return children

    def round(self, children: list[Any]) -> Emphasis:
        _, *content, closing = children
        return Emphasis(tuple(content), EMPHASIS if closing == ")" else _weight(closing, closing[1:-1]))

    def square(self, children: list[Any]) -> Node:
        _, *content, closing = children
        marks = [child for child in content if isinstance(child, Token)]
        if any(mark == "|" for mark in marks):
            return _alternation(content, closing)
        if closing.type == "SWITCH":
            return _switch(content, marks, closing)
        if len(marks) > 1:
            raise _error(
                "A switch [before:after:N] needs a number N as its last part.",
                closing,
                "Write a step (10) or a share of the steps (0.5) there, or \\: for plain colons.",
            )
        return Emphasis(_as_text(content), 1 / EMPHASIS)

    def text(self, children: list[Token]) -> Text:
        return Text(re.sub(r"\\([\\()\[\]:|<])", r"\1", children[0]))

    mark = text

    def separator(self, children: list[Token]) -> Token:
        return children[0]

    def new_chunk(self, children: list[Token]) -> Break:
        return Break()


def _lone_part(content: Sequence[_Content]) -> ComposedPart:
    """A prompt without AND: the number of '... ratio 16:9' is no weight."""
    return ComposedPart(_as_text(content))


def _composed_part(content: Sequence[_Content]) -> ComposedPart:
    if content and isinstance(weight := content[-1], Token):
        return ComposedPart(_as_text(content[:-1]), _weight(weight, weight[1:]))
    return ComposedPart(_as_text(content))


def _alternation(content: Sequence[_Content], closing: Token) -> Alternation:
    if closing.type == "SWITCH":
        raise _error(
            f"The alternation [a|b] takes no number, but it ends in {closing[:-1].strip()}.",
            closing,
            "Write [[a|b]:c:10] to end it at step 10, or \\: for a plain colon.",
        )
    return Alternation(tuple(_as_text(option) for option in _split(content, "|")))


def _switch(content: Sequence[_Content], colons: Sequence[Token], closing: Token) -> Switch:
    if len(colons) > 1:
        raise _error(
            "A switch [before:after:N] has two texts, but here begins a third one.",
            colons[1],
            "Remove it, or write \\: for a plain colon.",
        )
    *before, after = (_as_text(option) for option in _split(content, ":"))
    number = closing[1:-1]
    at = max(-_FARTHEST, min(float(number), _FARTHEST))
    return Switch(before[0] if before else (), after, at, "." in number)


def _split(content: Sequence[_Content], separator: str) -> list[list[_Content]]:
    groups: list[list[_Content]] = [[]]
    for child in content:
        if isinstance(child, Token) and child == separator:
            groups.append([])
        else:
            groups[-1].append(child)
    return groups


def _as_text(content: Sequence[_Content]) -> tuple[Node, ...]:
    """The nodes, with separators that separate nothing as plain text."""
    return tuple(Text(str(child)) if isinstance(child, Token) else child for child in content)


def _is_blank(content: Sequence[_Content]) -> bool:
    return all(isinstance(child, Token) or child == Break() or _is_space(child) for child in content)


def _is_space(node: Node) -> bool:
    return isinstance(node, Text) and not node.text.strip()


def _weight(token: Token, number: str) -> float:
    weight = float(number)
    if abs(weight) > MAX_WEIGHT:
        raise _error(
            f"A weight is at most {MAX_WEIGHT:.0f}, up or down, but here is {number.strip()[:20]}.",
            token,
        )
    return weight


def _error(problem: str, token: Token, remedy: str = "") -> PromptError:
    return PromptError(problem, remedy, position=token.start_pos or 0)
