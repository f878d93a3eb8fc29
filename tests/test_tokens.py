"""Bearer tokens: how they are read, kept and compared, and that no message repeats one."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from autoscaler.errors import InputError, StorageError
from autoscaler.tokens import Token, digest, local_token, match, read_tokens

SECRET = "a-secret-of-sixteen-or-more"


def tokens_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "tokens"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def test_tokens_are_read_plain_or_as_their_hash(tmp_path: Path) -> None:
    text = f"# who may\n\noperator {SECRET} ada\nviewer sha256:{digest('another-secret-here').hex()} bob\n"
    tokens = read_tokens(tokens_file(tmp_path, text))
    assert [(t.role, t.name) for t in tokens] == [("operator", "ada"), ("viewer", "bob")]
    assert match("another-secret-here", tokens) == tokens[1]
    assert match("another-secret-herE", tokens) is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        pytest.param(
            "root abc ada", "tokens:1:1: 'root' is not a role; write one of viewer, operator, admin", id="role"
        ),
        pytest.param(
            "viewer shorttoken ada",
            "tokens:1:8: ada: the token has 10 characters, at least 16 are needed; "
            "make one with `openssl rand -hex 32`",
            id="short",
        ),
        pytest.param(
            "viewer sha256:abc ada",
            "tokens:1:8: ada: sha256: needs 64 hexadecimal digits; make them with `printf %s TOKEN | sha256sum`",
            id="half a hash",
        ),
        pytest.param("viewer x", "tokens:1:1: has 2 words; write `role token name`, separated by spaces", id="no name"),
        pytest.param("# nobody", "tokens:1:1: holds no token; write lines `role token name`", id="nobody"),
        pytest.param(
            f"viewer {SECRET} ada\nviewer {SECRET}2 ada",
            "tokens:2:1: the name 'ada' is taken; write another",
            id="two of one name",
        ),
    ],
)
def test_a_malformed_token_line_says_what_to_do_and_never_the_token(tmp_path: Path, line: str, expected: str) -> None:
    with pytest.raises(InputError) as caught:
        read_tokens(tokens_file(tmp_path, line))
    assert str(caught.value).replace(f"{tmp_path}/", "") == expected
    assert SECRET not in str(caught.value)
    assert "shorttoken" not in str(caught.value)


@pytest.mark.parametrize("mode", [0o644, 0o602, 0o620], ids=["readable by all", "writable by all", "writable by group"])
def test_a_tokens_file_that_others_can_use_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(InputError, match=rf"mode {mode:04o} lets other users read or change it; run `chmod 600"):
        read_tokens(tokens_file(tmp_path, f"viewer {SECRET} ada", mode))


def test_a_missing_tokens_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_tokens(tmp_path / "none")


def test_roles_include_the_weaker_ones() -> None:
    operator = Token("operator", "ada", b"")
    assert [operator.may("viewer"), operator.may("operator"), operator.may("admin")] == [True, True, False]


def test_the_local_token_is_private_kept_over_restarts_and_renewed_when_others_could_read_it(tmp_path: Path) -> None:
    first = local_token(tmp_path)
    path = tmp_path / "token"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert local_token(tmp_path) == first
    assert match(path.read_text().strip(), (first,)) == first
    path.chmod(0o644)
    assert local_token(tmp_path) != first
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_data_folder_that_refuses_the_local_token_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="make the data folder writable or name another one with --data-dir"):
        local_token(tmp_path / "none")
