"""Bearer tokens: who may ask and who may change. Only hashes stay in memory, and no token appears in a message."""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from autoscaler.errors import Fault, InputError, StorageError

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""Weakest first; each role may do what the ones before it may."""

LOCAL_TOKEN_FILE = "token"  # noqa: S105 - the name of a file
SESSION_KEY_FILE = "session-key"
MIN_TOKEN_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class Token:
    """A named bearer of a role. `digest` is the SHA-256 of the secret; it stays out of every repr."""

    role: Role
    name: str
    digest: bytes = field(repr=False)

    def may(self, role: Role) -> bool:
        """Whether this token's role covers what `role` may do."""
        return ROLES.index(self.role) >= ROLES.index(role)


def digest(secret: str) -> bytes:
    """What of a secret is kept: its SHA-256. Tokens are long and random, so that no slow hash is needed."""
    return hashlib.sha256(secret.encode()).digest()


def match(secret: str, tokens: tuple[Token, ...]) -> Token | None:
    """The token whose secret this is. Looks at all of them in constant time, so that timing tells nothing."""
    offered = digest(secret)
    found = None
    for token in tokens:
        if secrets.compare_digest(offered, token.digest):
            found = token
    return found


def read_tokens(path: Path) -> tuple[Token, ...]:
    """The tokens of a file with lines `role token-or-sha256:HEX name`; `#` starts a comment line.

    Raises InputError with every fault at once; a fault names line and column but never repeats the token.
    """
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InputError(f"tokens file {path}: cannot be read ({why}); name a readable text file") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH | stat.S_IWGRP):
        raise InputError(
            f"tokens file {path}: its mode {stat.S_IMODE(mode):04o} lets other users read or change it; "
            f"run `chmod 600 {path}`"
        )
    faults: list[Fault] = []
    tokens: list[Token] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.lstrip().startswith("#"):
            read = _read_line(str(path), number, line)
            if isinstance(read, Fault):
                faults.append(read)
            elif any(read.name == other.name for other in tokens):
                faults.append(Fault(str(path), number, 1, "", f"the name {read.name!r} is taken; write another"))
            else:
                tokens.append(read)
    if not tokens and not faults:
        faults.append(Fault(str(path), 1, 1, "", "holds no token; write lines `role token name`"))
    if faults:
        raise InputError(*faults)
    return tuple(tokens)


def _read_line(file: str, number: int, line: str) -> Token | Fault:
    parts = line.split()
    if len(parts) != 3:
        return Fault(file, number, 1, "", f"has {len(parts)} words; write `role token name`, separated by spaces")
    role, secret, name = parts
    if role not in ROLES:
        return Fault(file, number, 1, "", f"{role!r} is not a role; write one of {', '.join(ROLES)}")
    column = line.index(secret) + 1
    if secret.startswith("sha256:"):
        try:
            hashed = bytes.fromhex(secret.removeprefix("sha256:"))
        except ValueError:
            hashed = b""
        if len(hashed) != hashlib.sha256().digest_size:
            rule = "sha256: needs 64 hexadecimal digits; make them with `printf %s TOKEN | sha256sum`"
            return Fault(file, number, column, name, rule)
        return Token(role, name, hashed)
    if len(secret) < MIN_TOKEN_CHARACTERS:
        rule = f"the token has {len(secret)} characters, at least {MIN_TOKEN_CHARACTERS} are needed; "
        return Fault(file, number, column, name, rule + "make one with `openssl rand -hex 32`")
    return Token(role, name, digest(secret))


def local_token(data_dir: Path) -> Token:
    """The operator token that a service without a tokens file leaves in its data folder for the person at the machine.

    Raises StorageError when the folder cannot be written.
    """
    return Token("operator", "local", digest(_kept_secret(data_dir / LOCAL_TOKEN_FILE, "the local token")))


def session_key(data_dir: Path) -> bytes:
    """What signs the cookies of people who signed in, the same after a restart.

    Raises StorageError when the folder cannot be written.
    """
    return digest(_kept_secret(data_dir / SESSION_KEY_FILE, "the key of sessions"))


def _kept_secret(path: Path, what: str) -> str:
    """The secret that an earlier run left, when only its owner can read it; otherwise a new one, written mode 0600."""
    try:
        if path.is_file() and not path.is_symlink() and stat.S_IMODE(path.stat().st_mode) == 0o600:
            kept = path.read_text(encoding="ascii", errors="replace").strip()
            if len(kept) >= MIN_TOKEN_CHARACTERS:
                return kept
        path.unlink(missing_ok=True)
        secret = secrets.token_urlsafe(32)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret + "\n")
    except OSError as error:
        raise StorageError(
            f"{path}: {what} cannot be written ({error.strerror}); make the data folder writable or name another one "
            "with --data-dir"
        ) from error
    return secret
