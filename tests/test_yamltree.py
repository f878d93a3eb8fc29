"""YAML as a plain tree of text with places."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler import yamltree
from autoscaler.errors import Fault, InputError
from autoscaler.yamltree import parse


@pytest.mark.parametrize(
    "word", ["no", "yes", "on", "12:30", "010", "1e3", "1.10", "2026-01-05", "0x1F", "1_000", "true", ".inf", "=", "!"]
)
def test_a_word_stays_the_text_that_it_looks_like(word: str) -> None:
    assert parse(f"key: '{word}'", "f.yaml").root == {"key": word}
    if word not in ("!",):
        assert parse(f"key: {word}", "f.yaml").root == {"key": word}


def test_everything_has_a_place() -> None:
    tree = parse("pool: chat\nrules:\n  - name: a\n    when: {gpu: {above: 85%}}\n", "f.yaml")
    mark = tree.marks[("rules", 0, "when", "gpu", "above")]
    assert (mark.line, mark.column, mark.key_line, mark.key_column) == (4, 25, 4, 18)
    assert mark.where == "rules[0].when.gpu.above"
    assert str(tree.fault(("rules", 0, "name"), "is bad")) == "f.yaml:3:11: rules[0].name: is bad"


def test_a_fault_about_what_is_not_there_is_placed_at_its_parent() -> None:
    tree = parse("pool: chat\nlimits: {min: 1}\n", "f.yaml")
    assert str(tree.fault(("limits", "max"), "is missing")) == "f.yaml:2:9: limits.max: is missing"
    assert str(tree.fault(("offers", "from"), "is missing")) == "f.yaml:1:1: offers.from: is missing"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(
            "a: 1\nb: 2\na: 3\n",
            "f.yaml:3:1: a: is given twice, first in line 1; keep one of the two",
            id="duplicate key",
        ),
        pytest.param(
            "l: {x: 1,\n  x: 2}\n",
            "f.yaml:2:3: l.x: is given twice, first in line 1; keep one of the two",
            id="in flow style",
        ),
        pytest.param(
            "a: &x 1\n", "f.yaml:1:4: '&x' is an anchor; remove it, rule files have no references", id="anchor"
        ),
        pytest.param(
            "a: *x\n", "f.yaml:1:4: '*x' is an alias; write the value out, rule files have no references", id="alias"
        ),
        pytest.param(
            "<<: {a: 1}\n",
            "f.yaml:1:1: '<<' merges another mapping; write the keys out, rule files have no references",
            id="merge key",
        ),
        pytest.param(
            "a: !bytes x\n",
            "f.yaml:1:4: '!bytes' is a tag; remove it, the key decides what a value means",
            id="tag",
        ),
        pytest.param(
            "a: 1\n---\nb: 2\n",
            "f.yaml:2:1: starts a second document; one file describes one pool, remove the '---'",
            id="second document",
        ),
        pytest.param("", "f.yaml:1:1: is empty; start with 'pool: NAME', see rules/default.yaml", id="empty file"),
        pytest.param(
            "# a\n", "f.yaml:1:1: is empty; start with 'pool: NAME', see rules/default.yaml", id="only a comment"
        ),
        pytest.param(
            "[a]", "f.yaml:1:1: is not a mapping; start with 'pool: NAME', see rules/default.yaml", id="a list"
        ),
        pytest.param("a:\n  b:\n", "f.yaml:2:3: a.b: has no value; write one or remove the key", id="no value"),
        pytest.param("a: null\n", "f.yaml:1:4: a: has no value; write one or remove the key", id="null"),
        pytest.param("a:\n\tb: 1\n", "f.yaml:2:1: a tab indents this line; indent with spaces", id="tab"),
        pytest.param("? [a]\n: b\n", "f.yaml:1:3: a key must be a word; write 'name: value'", id="a list as key"),
        pytest.param("'': 1\n", "f.yaml:1:1: the key is empty; write 'name: value'", id="empty key"),
        pytest.param(
            "a: 'x\n",
            "f.yaml:2:1: is not YAML: unexpected end of stream while scanning a quoted scalar; "
            "check quotes, colons and indentation",
            id="open quote",
        ),
        pytest.param(
            "a: b: c\n",
            "f.yaml:1:5: is not YAML: mapping values are not allowed in this context; "
            "check quotes, colons and indentation",
            id="two colons",
        ),
        pytest.param(
            "a: x\u2028b\n",
            "f.yaml:1:5: character U+2028 does not show in an editor; remove it",
            id="hidden line break",
        ),
        pytest.param("a: x\x00\n", "f.yaml:1:5: character U+0000 does not show in an editor; remove it", id="NUL"),
        pytest.param(
            "a: \u202ex\n", "f.yaml:1:4: character U+202E does not show in an editor; remove it", id="reversed text"
        ),
    ],
)
def test_what_would_mislead_is_refused(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, "f.yaml")
    assert str(caught.value) == message


def test_bytes_that_are_not_utf8_are_placed() -> None:
    with pytest.raises(InputError) as caught:
        parse(b"pool: chat\nname: M\xfcnchen\n", "f.yaml")
    assert str(caught.value) == "f.yaml:2:8: byte 0xfc is not UTF-8; save the file as UTF-8"


def test_a_byte_order_mark_is_left_out() -> None:
    assert parse(b"\xef\xbb\xbfpool: chat\n", "f.yaml").root == {"pool": "chat"}


def test_several_faults_are_reported_at_once() -> None:
    with pytest.raises(InputError) as caught:
        parse("a: 1\na: 2\nb:\n", "f.yaml")
    assert [(f.line, f.where) for f in caught.value.faults] == [(2, "a"), (3, "b")]


def test_a_file_beyond_the_size_limit_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    big = tmp_path / "big.yaml"
    big.write_bytes(b"a: " + b"x" * yamltree.MAX_BYTES)
    with pytest.raises(InputError) as caught:
        parse(yamltree.read_bytes(big), "big.yaml")
    assert str(caught.value) == "big.yaml: is larger than 1 MiB; a rule file describes one pool, split it"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file or directory; check the path"):
        yamltree.read_bytes(tmp_path / "nothing.yaml")


def test_depth_and_number_of_values_are_limited() -> None:
    with pytest.raises(InputError, match="nested more than 32 deep"):
        parse("a: " + "[" * 100_000, "f.yaml")
    with pytest.raises(InputError, match="is past 100000 values"):
        parse("".join(f"a{i}: [" + "1," * 2400 + "1]\n" for i in range(50)), "f.yaml")
    with pytest.raises(InputError, match="a: has more than 2500 items"):
        parse("a: [" + "1," * 2501 + "1]", "f.yaml")
    with pytest.raises(InputError, match="has more than 1000 keys"):
        parse("".join(f"a{i}: 1\n" for i in range(1001)), "f.yaml")


def test_words_are_limited_and_never_reach_a_terminal_raw() -> None:
    with pytest.raises(InputError, match="a: is longer than 4096 characters"):
        parse("a: " + "x" * 4097, "f.yaml")
    with pytest.raises(InputError, match="the key is longer than 128 characters"):
        parse("x" * 129 + ": a", "f.yaml")
    tree = parse('"\\e[31mred": a\n', "f.yaml")
    assert str(tree.fault(("\x1b[31mred",), "is bad")) == "f.yaml:1:14: '\\x1b[31mred': is bad"


@settings(derandomize=True, max_examples=300)
@given(st.text(alphabet="ab:-{}[],&*!'\"|>#%@\n \t?~<", max_size=40))
def test_any_text_is_a_tree_or_a_list_of_faults(text: str) -> None:
    faults: tuple[Fault, ...] = ()
    try:
        root: object = parse(text, "f.yaml").root
    except InputError as error:
        root, faults = None, error.faults
    assert isinstance(root, dict) or faults
    assert all(f.file == "f.yaml" and f.text for f in faults)
