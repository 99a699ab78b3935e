"""CIDEr: by hand, against the library, and independent of what is scored together."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
from pycocoevalcap.cider.cider import Cider as LibraryCider
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer

from icd_assets.errors import UserError
from icd_assets.tasks.caption.metric import Cider
from icd_assets.tasks.caption.ptb_tokenizer import require_caption_tools, tokenize

REFERENCES = [
    ["A red star on blue.", "a star, red"],
    ["a green heart", "The heart is green!"],
    ["a dog (brown) runs"],
    ["the cat's bowl", "A man holding the letter A."],
]
ANSWERS = ["a red star", "green heart on blue", "a cat", "the cat's bowl"]


def test_by_hand():
    """Two images with one caption of two words each: every n-gram occurs in one image, so all weigh ln 2."""
    metric = Cider([["red star"], ["blue heart"]])
    golds = ["red star"]
    whole, half, none, empty = metric.scores(["Red star.", "red", "blue heart", ""], [golds] * 4)
    assert whole == pytest.approx(10 * (1 + 1 + 0 + 0) / 4)  # cosines of 1- to 4-grams
    # One of two words: cosine 1/√2; one bigram less: Gaussian penalty, σ = 6.
    assert half == pytest.approx(10 * math.exp(-1 / 72) / math.sqrt(2) / 4)
    assert (none, empty) == (0.0, 0.0)


def test_a_word_that_every_image_has_weighs_nothing():
    metric = Cider([["a star"], ["a heart"]])
    star, article = metric.scores(["star", "a"], [["a star"]] * 2)
    assert star > 0
    assert article == 0.0


def test_equals_the_library_when_the_corpus_is_what_is_scored(capfd):
    tokenizer = PTBTokenizer()
    golds = tokenizer.tokenize({i: [{"caption": c} for c in own] for i, own in enumerate(REFERENCES)})
    answers = tokenizer.tokenize({i: [{"caption": answer}] for i, answer in enumerate(ANSWERS)})
    expected = LibraryCider().compute_score(golds, answers)[1].tolist()
    assert Cider(REFERENCES).scores(ANSWERS, REFERENCES) == pytest.approx(expected, abs=1e-12)
    assert "tokens per second" in capfd.readouterr().err


def test_a_score_does_not_depend_on_what_is_scored_with_it():
    metric = Cider([*REFERENCES, ["something else"], ["a third dog"]])
    together = metric.scores(ANSWERS, REFERENCES)
    alone = [metric.scores([a], [golds])[0] for a, golds in zip(ANSWERS, REFERENCES, strict=True)]
    assert together == alone
    assert metric.scores(ANSWERS[::-1] * 2, REFERENCES[::-1] * 2) == together[::-1] * 2
    assert metric.scores([], []) == []
    assert metric.labels(ANSWERS[:1], REFERENCES[:1]) == [{"cider": together[0]}]


def test_one_image_is_no_corpus():
    with pytest.raises(UserError, match="there are 1 images; take two or more"):
        Cider([["a star"]])


def test_clean_and_same():
    metric = Cider(REFERENCES)
    assert metric.clean(" a dog\n on grass Caption:a cat") == "a dog on grass"
    assert metric.normal("A  dog.") == metric.normal("a dog")


def test_tokens_are_the_treebanks_without_punctuation():
    """As the library drops it: its list has ``-LRB-``, which the lower-cased bracket is not."""
    assert tokenize(["Don't, e-mail: \"it's\" (5.5) ...", "", "Café"]) == [
        ["do", "n't", "e-mail", "it", "'s", "-lrb-", "5.5", "-rrb-"],
        [],
        ["café"],
    ]


@pytest.mark.parametrize("neighbor", ["The end", "the end", "...", "2", ""])
def test_tokens_do_not_depend_on_the_next_caption(neighbor):
    captions = ["holding the letter A.", "the answer is no.", "team a v.", "at 5 p.m."]
    alone = [tokenize([caption])[0] for caption in captions]
    assert [tokenize([caption, neighbor])[0] for caption in captions] == alone


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\x0b", "\x0c", "\x85", "\u2028", "\u2029", "\x1c", " \t "])
def test_a_line_separator_within_a_caption_is_a_blank(separator):
    assert tokenize([f"a{separator}dog", "cat"]) == [["a", "dog"], ["cat"]]


def test_half_a_character_is_no_reason_to_fail():
    assert tokenize(["a \ud83d dog"])[0] == ["a", "dog"]


def test_without_java_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"needs Java, but there is no java on PATH; install a Java runtime"):
        tokenize(["a dog"])


def test_without_the_library_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    monkeypatch.setattr("icd_assets.tasks.caption.ptb_tokenizer.find_spec", lambda name: None)
    with pytest.raises(
        UserError, match=r"pycocoevalcap, which is not installed; pip install 'icd-assets\[captions\]'"
    ):
        require_caption_tools()


@pytest.mark.parametrize(
    "script",
    [
        "exit 3",
        "echo broken >&2; cat >/dev/null; printf 'a\\nb\\n'",
        "cat >/dev/null; printf 'a\\n\\n.\\nb\\n\\n.\\n'; exit 1",
    ],
)
def test_a_java_that_fails_is_not_taken_for_empty_captions(monkeypatch, tmp_path: Path, script):
    java = tmp_path / "java"
    java.write_text(f"#!/bin/sh\n{script}\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UserError, match="fix the Java installation"):
        tokenize(["a dog", "a cat"])
