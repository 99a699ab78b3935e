"""YAML that anyone wrote: what is sound reads as before, all else is a line's number and a reason."""

from __future__ import annotations

import time

import pytest
import yaml

from icd_assets.runtime.yaml_file import parse_yaml

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing",
        "a: &a [1, 2.5, yes, Off, null, ~, '1', \"\\u00e9\\n\"]\nb: {<<: {c: 0x1f, e: 017}, d: *a}",
        "- &x {a: 1, b: 2}\n- {<<: *x, b: 3}\n- {<<: [{a: 4}, *x], c: 0b1}",
        "a: |\n  text\n  more\nb: !!str 3\nc: 1_000\nd: -1.5e+3\ne: 09",
    ],
)
def test_sound_yaml_reads_as_before(text):
    assert parse_yaml(text) == yaml.safe_load(text)


def test_a_date_is_its_text():
    assert parse_yaml("revision: 2024-01-31") == {"revision": "2024-01-31"}


def test_an_anchor_is_copied():
    found = parse_yaml("a: &a {b: [1]}\nc: *a")
    found["a"]["b"].append(2)
    assert found["c"] == {"b": [1]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &a [*a]", "holds itself"),
        ("a: *b", "no anchor 'b'"),
        (BOMB, "more than 100,000 values"),
        (f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 20)}]", "more than 100,000 values"),
        ("[" * 100_000, "more than 50 levels"),
        ("{a: " * 100_000, "more than 50 levels"),
        ("- " * 100_000, "more than 50 levels"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
        *((f"{key}: 1", "is no text; put it in quotes") for key in ("1", "null", "true", "[1]", "1.5")),
        ("? {a: b}\n: c", "is no text"),
        *(
            (f"a: {value}", "is not read; leave it out")
            for value in (
                "!!python/object/apply:os.system [x]",
                "!!binary aGk=",
                "!!set {a}",
                "!!omap [a: 1]",
                "!b c",
            )
        ),
        ("a: 1:30", "base sixty"),
        *((f"a: {value}", "not a finite number") for value in (".nan", "-.INF", "1.0e+400")),
        (f"a: 1{'0' * 400}", "a number of 401 characters"),
        ("a: 99999999999999999999", "more than 64 bits"),
        ('a: "\\0"', "no character of a text"),
        ('a: "\\e[31m"', "no character of a text"),
        ('a: "\\ud800"', "line 1: "),
        ("a\x00", "control characters"),
        ("--- a\n--- b", "second document"),
        ("<<: 1", "merges sections"),
        ("a: {b", "line 2: "),
        ("a" * (1 << 21), "of which at most"),
    ],
)
def test_all_else_is_refused(text, reason):
    begun = time.monotonic()
    with pytest.raises(ValueError, match=reason) as refused:
        parse_yaml(text)
    assert len(str(refused.value)) < 300 and "\n" not in str(refused.value)
    assert time.monotonic() - begun < 5
