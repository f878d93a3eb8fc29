"""Our stand-in for `dcgmi`: prints the table of `dcgmi dmon` as dcgmi/DeviceMonitor.cpp of NVIDIA/DCGM formats it.

It is told what to print by a JSON file, which it reads again before each round: `rows` is a list of [entity, {field:
text}], `style` is "left" (from DCGM 2.4 on) or "right", `end` makes it say something and end with a code, `hush` makes
it print nothing, `garbage` is printed as it is, `refuse` ends it when one of these fields is asked for. Started as
`python dmon_program.py FILE dmon [--host H] -e IDS -d MS`; the words that it got are written to FILE.words.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

TAGS = {
    50: ("DVNAM", 20), 54: ("UUID#", 40), 67: ("MGMOD", 5), 86: ("MAFF0", 5), 92: ("B1USE", 5), 100: ("SMCLK", 5),
    101: ("MMCLK", 5), 112: ("DVCCTR", 20), 113: ("SMMAX", 5), 140: ("MMTMP", 10), 150: ("TMPTR", 5),
    155: ("POWER", 10), 156: ("TOTEC", 16), 157: ("POWINST", 10), 164: ("EPLMT", 10), 190: ("PSTAT", 5),
    202: ("RPCTR", 5), 203: ("GPUTL", 10), 204: ("MCUTL", 10), 206: ("ECUTL", 10), 207: ("DCUTL", 10),
    230: ("XIDER", 5), 237: ("PCILG", 5), 238: ("PCILW", 5), 240: ("PVIOL", 10), 241: ("TVIOL", 10),
    250: ("FBTTL", 10), 251: ("FBFRE", 10), 252: ("FBUSD", 10), 253: ("FBRSV", 10), 310: ("ESVTL", 5),
    311: ("EDVTL", 5), 393: ("URMPS", 10), 394: ("CRMPS", 10), 395: ("RRF", 20), 396: ("RRP", 20),
    409: ("NFELT", 20), 429: ("NRELT", 20), 439: ("NRCLT", 20), 449: ("NBWLT", 20), 1001: ("GRACT", 5),
    1002: ("SMACT", 5), 1003: ("SMOCC", 5), 1004: ("TENSO", 5), 1005: ("DRAMA", 5), 1006: ("FP64A", 5),
    1007: ("FP32A", 5), 1008: ("FP16A", 5), 1009: ("PCITX", 20), 1010: ("PCIRX", 20), 1011: ("NVLTX", 20),
    1012: ("NVLRX", 20),
}  # fmt: skip
"""Short name and width by field id, from dcgm_fields.cpp."""


def fitted(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


def header(ids: list[int], style: str) -> str:
    if style == "right":
        names = "".join(f"{TAGS[n][0]:>{TAGS[n][1] + 2}}" for n in ids)
        units = "".join(f"{'':>{TAGS[n][1] + 2}}" for n in ids)
        return f"#{'Entity':>7}{names}\n{'Id':>8}{units}\n"
    names = "".join(f"{fitted(TAGS[n][0], TAGS[n][1] + 6):<{TAGS[n][1] + 8}}" for n in ids)
    units = "".join(f"{'':<{TAGS[n][1] + 8}}" for n in ids)
    return f"{'#Entity':<16}{names}\n{'ID':<16}{units}\n"


def row(entity: str, cells: dict[str, str], ids: list[int], style: str) -> str:
    if style == "right":
        return f"{entity:>8}" + "".join(f"{cells.get(str(n), 'N/A'):>{TAGS[n][1] + 2}}" for n in ids) + "\n"
    told = "".join(f"{fitted(cells.get(str(n), ''), TAGS[n][1] + 6):<{TAGS[n][1] + 8}}" for n in ids)
    return f"{entity:<16}{told}\n"


def main(file: Path, words: list[str]) -> int:
    file.with_suffix(".words").write_text(json.dumps(words), encoding="utf-8")
    ids = [int(word) for word in words[words.index("-e") + 1].split(",")]
    delay_s = int(words[words.index("-d") + 1]) / 1000.0
    printed = 0
    while True:
        told = json.loads(file.read_text(encoding="utf-8"))
        style = told.get("style", "left")
        refused = sorted(set(told.get("refuse", [])) & set(ids))
        if "end" in told or refused:
            said, code = told.get("end", ["Error setting watches. Result: -36: Profiling is not supported", 1])
            sys.stdout.write(f"{said}\n")
            return int(code)
        if not told.get("hush"):
            if printed % 15 == 0:
                sys.stdout.write(header(ids, style))
            printed += 1
            sys.stdout.write(told.get("garbage", ""))
            for entity, cells in told["rows"]:
                sys.stdout.write(row(entity, cells, ids, style))
            sys.stdout.flush()
        time.sleep(delay_s)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
