"""`sigmascale topology`: of this machine through the driver, and of files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from autoscaler.cli.main import app
from autoscaler.errors import InputError
from tests.peers.nvml import Scenario, models

DATA = Path(__file__).parent / "data" / "topo"
REPOSITORY = Path(__file__).parent.parent
P4D = str(DATA / "aws_p4d-24xl_nccl-topo.xml")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["topology", *words])


def here(fleet: Scenario, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autoscaler.cli.main", "topology", *words]
    return subprocess.run(
        command, env=fleet.environment(), cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )


def test_a_file_gives_matrix_score_and_the_best_two() -> None:
    lines = run("--file", P4D, "--gpus", "2").stdout.splitlines()
    assert lines[0].split() == [f"GPU{number}" for number in range(8)]
    assert lines[1].split() == ["GPU0", "X", "PIX", "PHB", "PHB", "SYS", "SYS", "SYS", "SYS"]
    assert lines[10].split() == ["GPU0", "00000000:10:1c"]
    assert lines[-2:] == ["score of all 8: 0.2", "best 2: GPU0 GPU1, score 0.8"]


def test_the_best_are_chosen_only_of_those_that_are_free() -> None:
    assert run("--file", P4D, "-n", "2", "--among", "GPU1,GPU2", "--among", "GPU7").stdout.splitlines()[-1] == (
        "best 2: GPU1 GPU2, score 0.5"
    )


def test_json_holds_every_pair() -> None:
    told = json.loads(run("--file", P4D, "-n", "4", "--json").stdout)
    assert [gpu["name"] for gpu in told["gpus"]][:2] == ["00000000:10:1c", "00000000:10:1d"]
    assert told["matrix"][0][1] == {"path": "PIX", "nvlinks": 0, "p2p": None, "score": 0.8}
    assert told["best"] == {"gpus": [gpu["name"] for gpu in told["gpus"][:4]], "score": 0.5}
    assert told["score"] == 0.2


def test_what_nvidia_smi_printed_is_read_too() -> None:
    assert "score of all" in run("--file", str(DATA / "h100_80gb_hbm3_topo-m.txt")).stdout


def test_what_a_file_leaves_out_can_be_said() -> None:
    told = run("--file", P4D, "--switched-nvlinks", "12").stdout
    assert told.splitlines()[1].split()[1:4] == ["X", "NV12", "NV12"]
    addresses = ",".join(f"0000:00:{device:02x}.0" for device in range(0x16, 0x1E))
    told = run("--file", str(DATA / "aws_g5-48xl_nccl-topo.xml"), "--gpu-at", addresses).stdout
    assert told.splitlines()[-1].startswith("score of all 8")


def test_this_machine_is_asked_through_its_driver() -> None:
    with models.dgx_a100() as fleet:
        done = here(fleet, "--gpus", "4", "--json")
        told = json.loads(done.stdout)
        assert {pair["nvlinks"] for pair in told["matrix"][0][1:]} == {12}
        assert told["best"]["gpus"] == [gpu.uuid for gpu in fleet.gpus[:4]]


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param(12, "this machine's GPUs cannot be asked: there is no libnvidia-ml.so.1", id="no library"),
        pytest.param(18, "driver and library differ since an update", id="mismatch"),
    ],
)
def test_without_a_driver_it_says_so(code: int, text: str) -> None:
    with models.t4() as fleet:
        fleet.fail("nvmlInitWithFlags", code)
        done = here(fleet)
        assert (done.returncode, done.stdout) == (1, "")
        assert text in done.stderr
        assert "give a file with --file" in done.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--file", "nowhere.xml"), "--file nowhere.xml: cannot be read (No such file or directory)"),
        (("--file", P4D, "--gpus", "9"), "--gpus 9: there are only 8 GPUs to choose from"),
        (("--file", P4D, "-n", "1", "--among", "GPU9"), "--among: GPU9 is no GPU here"),
        (("--file", P4D, "--gpu-at", "x"), "--gpu-at: 'x' is no PCI address"),
        (("--file", __file__), "the table has no line with GPU0"),
    ],
)
def test_a_mistake_is_named(words: tuple[str, ...], text: str) -> None:
    found = run(*words)
    assert isinstance(found.exception, InputError)
    assert text in str(found.exception)
