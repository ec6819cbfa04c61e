# ruff: noqa: RUF001  (full-width punctuation is meant)
from __future__ import annotations

import random

import pytest

from geneface.voice.sentences import LONGEST, Sentences, WithoutCode, sentences, without_markup


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Good morning. How are you?", ["Good morning.", "How are you?"]),
        ("Mr. Smith paid 3.5 dollars, e.g. for J. K. Rowling.", None),
        ("See fig. 3 and www.example.com for more.", None),
        ("He came at 5 p.m. Then he left.", ["He came at 5 p.m.", "Then he left."]),
        ("He came at 5 p.m. and left.", None),
        ("It was I. You know.", ["It was I.", "You know."]),
        ('"No!" he said. "Go… away." Then', ['"No!" he said.', '"Go… away."', "Then"]),
        ("hello there. how are you? fine", ["hello there.", "how are you?", "fine"]),
        ("Wait... what? Really?! Yes", ["Wait... what?", "Really?!", "Yes"]),
        ("1. Eggs\n2. Milk\n- bread", ["1. Eggs", "2. Milk", "- bread"]),
        ("A line\nthat goes on.\n\nA paragraph", ["A line that goes on.", "A paragraph"]),
        ("你好。世界很大！“真的？”他说。", ["你好。", "世界很大！", "“真的？”", "他说。"]),
        ("価格は３．５円です。はい", ["価格は３．５円です。", "はい"]),
        ("... !!! \n\n *** 🙂", []),
        ("", []),
    ],
)
def test_where_sentences_end(text: str, expected: list[str] | None) -> None:
    assert sentences(text) == ([text] if expected is None else expected)


TEXT = (
    "Dr. Who met Mrs. Jones at 10.30 a.m. in St. Albans. They spoke of pi, which is 3.14159, for an hour! “Why?” she "
    "asked.\n\n1. First, this.\n2. Second: that. 东京很大。真的吗？ Done etc. and so on. It ended in 1999. Nobody knew."
)


def test_a_growing_text_gives_the_same_sentences() -> None:
    """Whatever the pieces: what comes later never changes what was said."""
    expected = sentences(TEXT)
    assert len(expected) == 10
    draw = random.Random(1)
    for longest in (1, 3, 20):
        splitter, found, at = Sentences(), [], 0
        while at < len(TEXT):
            size = draw.randint(1, longest)
            found += splitter.push(TEXT[at : at + size])
            at += size
        assert found + splitter.finish() == expected


def test_a_sentence_is_told_as_soon_as_it_is_sure() -> None:
    splitter = Sentences()
    assert splitter.push("Really? ") == ["Really?"]
    assert splitter.push("I paid 3.") == []
    assert splitter.push("5. ") == []
    assert splitter.push("Then") == ["I paid 3.5."]
    assert splitter.push("好。") == []
    assert splitter.push("再") == ["Then好。"]
    assert splitter.finish() == ["再"]
    assert splitter.finish() == []


def test_an_eager_beginning_ends_at_a_comma_and_only_the_beginning() -> None:
    splitter = Sentences(eager=True)
    assert splitter.push("Well, that is a good question, and ") == ["Well, that is a good question,"]
    assert splitter.push("I have an answer, as you know, to it. ") == []
    assert splitter.finish() == ["and I have an answer, as you know, to it."]
    assert Sentences(eager=True).push("Yes. No, that is a very good question, and so on") == ["Yes."]


def test_long_sentences_are_cut_at_commas_and_lose_nothing() -> None:
    clauses = "it went on and on without an end, " * 30
    pieces = sentences(clauses + "and stopped.")
    assert all(len(piece) <= LONGEST for piece in pieces) and all(piece.endswith(",") for piece in pieces[:-1])
    assert " ".join(pieces) == clauses + "and stopped."
    words = sentences("word " * 200)
    assert all(len(piece) <= LONGEST for piece in words) and " ".join(words).split() == ["word"] * 200
    assert "".join(sentences("x" * 1000)) == "x" * 1000
    wide = sentences("字很多，" * 100)
    assert max(map(len, wide)) <= LONGEST // 3 and "".join(wide) == "字很多，" * 100


def test_a_text_made_to_be_slow_is_not() -> None:
    """Each piece looks at a bounded part of the text: 20 000 characters took minutes before."""
    for text in ("Mr. " * 5000, "." * 20_000, " " * 20_000, "(" * 20_000, "1.\n" * 6000, "[a](" * 5000):
        for piece in sentences(text):
            without_markup(piece)


def test_marks_of_markdown_are_not_spoken() -> None:
    marked = '## Title\n- **Bold** and `code`, [a link](http://x.y/z "t") https://www.example.com/a?b=c snake_case 2*3'
    assert without_markup(marked) == "Title Bold and code, a link example.com snake_case 2*3"


def test_code_is_left_out_however_it_arrives() -> None:
    text = "Do this:\n```py\nprint('x')\n```\nand `that`. ```a``` End."
    for size in (1, 2, 5, 100):
        filtered = WithoutCode()
        heard = "".join(filtered.push(text[at : at + size]) for at in range(0, len(text), size))
        assert heard.split() == ["Do", "this:", "and", "`that`.", "End."]
