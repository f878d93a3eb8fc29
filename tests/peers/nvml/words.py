"""Attributes that read and write one word of the mapped file."""

from __future__ import annotations

import ctypes
from typing import Any, Protocol


class Mapped(Protocol):
    """Something that is described by a structure in the file."""

    @property
    def data(self) -> ctypes.Structure: ...


class Word:
    """A number, named as in the structure."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Mapped, owner: type) -> int:
        return int(getattr(instance.data, self._name))

    def __set__(self, instance: Mapped, value: int) -> None:
        setattr(instance.data, self._name, value)


class Text:
    """A text of limited length, named as in the structure."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Mapped, owner: type) -> str:
        value: bytes = getattr(instance.data, self._name)
        return value.decode()

    def __set__(self, instance: Mapped, value: str) -> None:
        setattr(instance.data, self._name, value.encode())


class Words:
    """Several numbers, as a sequence whose elements can be set."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: Mapped, owner: type) -> Any:
        return getattr(instance.data, self._name)
