"""The strings of both languages: complete, and none that nobody shows."""

from __future__ import annotations

import re

from geneface.portrait import plan

from .test_files import TEXTS

_ENTRY = re.compile(r'^  "([\w.-]+)": "((?:[^"\\]|\\.)*)",$', re.MULTILINE)
SAME = {"foot.api", "format.mp4", "make.sample"}
"""What is written alike in both."""


def strings(language: str) -> dict[str, str]:
    text = TEXTS[f"strings.{language}.js"].partition("export default {")[2].partition("\n};")[0]
    entries = _ENTRY.findall(text)
    assert len(entries) == len([line for line in text.splitlines() if line.strip()]) == len(dict(entries))
    return dict(entries)


EN, ZH = strings("en"), strings("zh")
CODE = "\n".join(
    text for name, text in TEXTS.items() if name.endswith(".js") and not name.startswith(("strings.", "server."))
)


def used() -> tuple[set[str], list[re.Pattern[str]]]:
    """Keys that stand in the code, and patterns of those that are put together there."""
    calls = re.findall(r"\b(?:t|has|fact|label|choice)\(([^;\n]*)", CODE)
    keys = {key for call in calls for key in re.findall(r'"([a-z][\w.-]*)"', call)} | set(
        re.findall(r'"([a-z]+(?:\.\w+)+)"', CODE)
    )
    keys |= set(re.findall(r'data-t(?:-label)?="([\w.]+)"', TEXTS["index.html"]))
    patterns = [
        re.compile(re.sub(r"\\\$\\\{.*?\\\}", r"[\\w.-]+", re.escape(key)))
        for key in re.findall(r"\bt\(`([^`]+)`", CODE)
    ]
    return keys, patterns


def test_both_languages_have_the_same_keys_and_places() -> None:
    assert EN.keys() == ZH.keys() and len(EN) > 200
    for key, text in EN.items():
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", ZH[key])), key
        assert text.strip() and ZH[key].strip(), key


def test_chinese_is_chinese() -> None:
    assert {key for key, text in ZH.items() if not re.search(r"[\u4e00-\u9fff]", text)} <= SAME
    assert not [key for key, text in EN.items() if re.search(r"[\u4e00-\u9fff]", text)]


def test_every_reason_not_to_use_a_second_is_told_in_chinese() -> None:
    table = TEXTS["server.zh.js"].partition("export const sentences = [")[2]
    exact = set(re.findall(r'^  \["([^"]+)", "[^"]*[\u4e00-\u9fff][^"]*"\],$', table, re.MULTILINE))
    patterns = [re.compile(text.replace(r"\/", "/")) for text in re.findall(r'^  \[/(.+)/, "', table, re.MULTILINE)]
    names = ("NO_FACE", "TWO_FACES", "SMALL_FACE", "TOO_SHORT", "FACE_LOST", "OTHER_FACE", "TRACKED_TOO_SHORT", "FACE_LEAVES",
             "HEAD_LEAVES", "NO_SOUND_HERE", "ONLY_A_PICTURE", "OTHER_PERSON", "CAMERA_MOVES", "SIZE_CHANGES", "LIGHT_CHANGES",
             "MOUTH_COVERED", "OTHER_SCENE")  # fmt: skip
    reasons = {getattr(plan, name) for name in names} | set(plan._REMEDIES)
    said = reasons | {plan.remedy_for(reason) for reason in reasons} | {plan.remedy_for("anything else")}
    assert len(said) > 35
    assert {
        text for text in said if text not in exact and not any(pattern.search(text) for pattern in patterns)
    } == set()


def test_every_key_in_the_code_is_a_string_and_every_string_is_shown() -> None:
    keys, patterns = used()
    called = set(re.findall(r'\bt\("([\w.-]+)"', CODE))
    assert called and called <= EN.keys(), called - EN.keys()
    shown = {key for key in EN if key in keys or any(pattern.fullmatch(key) for pattern in patterns)}
    assert EN.keys() - shown == set()
    for pattern in patterns:
        assert any(pattern.fullmatch(key) for key in EN), pattern.pattern
