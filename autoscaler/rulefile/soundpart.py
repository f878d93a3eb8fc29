"""The part of a broken rule file that can still be checked: broken sections replaced by harmless ones.

Indexes and names stay as they are, so that what is found has its place in the file, and a rule that names a broken
signal is not reported as naming an unknown one.
"""

from __future__ import annotations

from collections.abc import Sequence

from autoscaler.yamltree import Step, Value

_HARMLESS: dict[str, Value] = {"pool": "broken", "limits": {"max": "1000000000"}}


def sound_part(root: Value, broken: Sequence[tuple[Step, ...]]) -> Value:
    """A copy of a file's contents with the sections that are broken at these ways replaced."""
    if not isinstance(root, dict):
        return root
    sound = {key: _copy(value) for key, value in root.items()}
    for way in broken:
        _replace(sound, way)
    return sound


def _copy(value: Value) -> Value:
    if isinstance(value, dict):
        return {key: _copy(inner) for key, inner in value.items()}
    return [_copy(inner) for inner in value] if isinstance(value, list) else value


def _replace(sound: dict[str, Value], way: tuple[Step, ...]) -> None:
    """Put something harmless in the place of the section that `way` leads into."""
    top = str(way[0]) if way else ""
    section = sound.get(top)
    match section, way[1:]:
        case dict(), (str(name), "[key]") if top == "signals":
            section.pop(name, None)
        case dict(), (str(name), *_) if top == "signals":
            section[name] = {"promql": "0"}
        case list(), (int(index), *_) if top == "rules":
            schedule: Value = {"cron": "0 0 * * *", "lasts": "1s"}
            section[index] = {"name": f"(broken {index})", "schedule": schedule, "limits": {"min": "0"}}
        case list(), (int(index), *_) if top == "alerts":
            section[index] = {"each": "(broken)", "name": f"(broken {index})", "above": "1"}
        case {"from": list() as entries}, ("from", int(index), *_) if top == "offers":
            entries[index] = {"local": {"type": f"(broken {index})"}}
        case {"from": entries}, (str(key), *_) if top == "offers" and key != "from":
            sound[top] = {"from": entries}
        case _:
            sound.pop(top, None)
            # Without any signals everything that names one would look wrong.
            for key in ("rules", "scale_in") if top == "signals" else ():
                sound.pop(key, None)
            if top in _HARMLESS:
                sound[top] = _HARMLESS[top]
