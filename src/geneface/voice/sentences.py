"""Sentences of a text, also of one that still grows: what is spoken first can be said before the rest is there.

Full stops of Latin scripts end a sentence where space follows, and no abbreviation, initial or number of a list is
before them; those of Chinese and Japanese end it at once. A very long sentence is cut at a comma.
"""

# ruff: noqa: RUF001  (full-width punctuation is meant)
from __future__ import annotations

import re
from collections.abc import Iterator

LONGEST = 240
"""Characters of a piece; a Chinese, Japanese or Korean one counts three times, as it takes so much longer to say."""
_EARLY = 24
"""Characters after which an eager first piece may end at a comma."""
_WIDE = 3
_SEEN = 2 * LONGEST
"""Characters that are looked at for the next piece: more could not change it."""

_STOPS, _WIDE_STOPS = ".!?…", "。！？．｡"
_COMMAS, _WIDE_COMMAS = ",;:—–", "，、；："
_CLOSING = "\"'”’)]»」』）】》*_"
_END = re.compile(rf"(?:[{_STOPS}]+[{re.escape(_CLOSING)}]*(?=\s)|[{_WIDE_STOPS}]+[{re.escape(_CLOSING)}]*|\n)")
_COMMA = re.compile(rf"[{_COMMAS}][{re.escape(_CLOSING)}]*(?=\s)|[{_WIDE_COMMAS}]")
_LAST_WORD = re.compile(r"[^\s(\[\"'“‘]+$")
_ITEM = re.compile(r"(?:[-*•#>]|\d{1,3}[.)])\s")
"""Begins a line of a list, a heading or a quotation."""

_NEVER_LAST = frozenset({
    "mr", "mrs", "ms", "dr", "prof", "st", "mt", "sr", "fr", "gen", "col", "sgt", "capt", "lt", "cmdr", "rev",
    "hon", "gov", "sen", "rep", "pres", "vs", "cf", "fig", "figs", "eq", "sec", "ch", "vol", "vols", "pp", "ed",
    "eds", "approx", "e.g", "i.e", "viz", "al", "hr", "bzw", "z.b", "u.a", "d.h", "nr", "no",
})  # fmt: skip
"""Abbreviations that something follows."""
_SOMETIMES_LAST = frozenset({
    "etc", "inc", "ltd", "co", "corp", "jr", "a.m", "p.m", "u.s", "u.k", "dept", "est", "jan", "feb", "mar",
    "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "usw",
})  # fmt: skip
"""Abbreviations that end a sentence where the next word is capitalised."""

_LINK = re.compile(r"!?\[([^\]]*)\]\([^)\s]*(?:\s[^)]*)?\)")
_ADDRESS = re.compile(r"https?://(?:www\.)?([^\s/)\]>]+)[^\s)\]>]*")
_LINE_MARKS = re.compile(r"^\s*(?:#{1,6}|[-*•>])\s+", re.MULTILINE)
_EMPHASIS = re.compile(r"\*\*|__|`+|(?<!\w)[*_]|[*_](?!\w)|~~")


class Sentences:
    """Cuts a text that arrives in pieces. `push` and `finish` return what is ready to be spoken, without outer space.

    Args:
        eager: the first piece may end at a comma: a voice then begins before a sentence is whole.
    """

    def __init__(self, *, eager: bool = False) -> None:
        self._text, self._eager = "", eager

    def push(self, text: str) -> list[str]:
        """What is complete with `text` added: the end of a sentence shows by what follows it."""
        self._text += text
        return list(self._cut(is_whole=False))

    def finish(self) -> list[str]:
        """What is left. The next text is a new one."""
        left = list(self._cut(is_whole=True))
        self._text = ""
        return left

    def _cut(self, *, is_whole: bool) -> Iterator[str]:
        while True:
            stop = self._stop(is_whole)
            if not stop:
                return
            sentence, self._text = " ".join(self._text[:stop].split()), self._text[stop:]
            if _has_words(sentence):
                self._eager = False
                yield sentence

    def _stop(self, is_whole: bool) -> int:
        """Characters of the next piece, 0 if it is not complete."""
        text = self._text[:_SEEN]
        is_whole = is_whole and len(text) == len(self._text)
        end = next((found.end() for found in _END.finditer(text) if _ends(text, found, is_whole)), 0)
        if not end and is_whole:
            end = len(text)
        if self._eager:
            early = next((found.end() for found in _COMMA.finditer(text) if _width(text[: found.end()]) >= _EARLY), 0)
            if early and (not end or early < end) and _has_words(text[early:]):
                return early
        if _width(text[: end or len(text)]) > LONGEST:
            return _long_cut(text)
        return end


def sentences(text: str) -> list[str]:
    """The sentences of a whole text."""
    return Sentences().push(text + "\n\n")


def ends_sentence(text: str) -> bool:
    """Whether a piece is the last of its sentence, not one that was cut at a comma."""
    return not text.rstrip(_CLOSING + " ").endswith((*_COMMAS, *_WIDE_COMMAS))


def without_markup(text: str) -> str:
    """What a chat model means to be heard of a sentence in Markdown: no marks, links by their text."""
    text = _ADDRESS.sub(r"\1", _LINK.sub(r"\1", text))
    return " ".join(_EMPHASIS.sub("", _LINE_MARKS.sub("", text)).split())


class WithoutCode:
    """Leaves the blocks of code out of a Markdown text that arrives in pieces."""

    def __init__(self) -> None:
        self._held, self._inside = "", False

    def push(self, text: str) -> str:
        """What of the text so far is no code, and is told for the first time."""
        parts = (self._held + text).split("```")
        # Backticks at the end may become a fence.
        self._held = parts[-1][len(parts[-1].rstrip("`")) :]
        parts[-1] = parts[-1].rstrip("`")
        heard = "\n\n".join(parts[1 if self._inside else 0 :: 2])
        self._inside ^= len(parts) % 2 == 0
        return heard


def _ends(text: str, found: re.Match[str], is_whole: bool) -> bool:
    """Whether a sentence ends there, and what has arrived shows it."""
    rest = text[found.end() :]
    if found[0] == "\n":
        # The end of a paragraph or of an item of a list; else the line was only too long.
        return bool(re.match(r"[ \t]*\n", rest) or _ITEM.match(rest.lstrip(" \t")))
    if found[0][0] in _WIDE_STOPS:
        is_number = found[0] == "．" and text[found.start() - 1 : found.start()].isdigit() and rest[:1].isdigit()
        return not is_number and (bool(rest) or is_whole)
    following = rest.lstrip()
    if not following:
        return is_whole or rest.count("\n") > 1 or found[0][-1] in "!?"
    if following[0].islower() and (found[0][-1] in _CLOSING or found[0].endswith(("...", "…"))):
        # "No!" he said.
        return False
    if found[0] != ".":
        return True
    before = text[: found.start()]
    last = _LAST_WORD.search(before)
    word = last[0].lower() if last else ""
    if word in _NEVER_LAST or (word in _SOMETIMES_LAST and not following[0].isupper()):
        return False
    is_initial = len(word) == 1 and bool(last) and last[0].isupper() and last[0] != "I"
    is_item = bool(re.fullmatch(r"\s*\d{1,3}", before))
    return not (is_initial or is_item)


def _long_cut(text: str) -> int:
    """The best place to cut a sentence that is too long: after a comma, or a space, or anywhere."""
    most, width = 0, 0
    while most < len(text) and width < LONGEST:
        width += _WIDE if _is_wide(text[most]) else 1
        most += 1
    least = most // 6
    commas = [found.end() for found in _COMMA.finditer(text[: most + 1]) if least <= found.end() <= most]
    return commas[-1] if commas else max(text.rfind(" ", least, most) + 1, 0) or most


def _width(text: str) -> int:
    return len(text) + (_WIDE - 1) * sum(map(_is_wide, text)) if not text.isascii() else len(text)


def _is_wide(character: str) -> bool:
    return "\u3000" <= character <= "\u9fff" or "\uac00" <= character <= "\ud7af" or "\uff00" <= character <= "\uffef"


def _has_words(text: str) -> bool:
    return any(character.isalnum() for character in text)
