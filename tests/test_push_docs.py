"""docs/push.md says what is so: the programs that it configures accept the snippets, and so do we."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from autoscaler.configfile import read_config
from autoscaler.rulefile.reader import Defaults, check_text
from autoscaler.service import Service
from tests.peers.programs import program

PAGE = (Path(__file__).parent.parent / "docs" / "push.md").read_text(encoding="utf-8")
SNIPPETS = {
    found[1].splitlines()[0].split()[-1 if "of" in found[1].splitlines()[0] else 1].rstrip(";"): found[1]
    for found in re.finditer(r"^```yaml\n(# .*?)^```", PAGE, re.DOTALL | re.MULTILINE)
}


def written(name: str, folder: Path) -> Path:
    """A snippet as a file, with its token file in the folder."""
    text = re.sub(r"/etc/\w+/sigmascale-token", str(folder / "token"), SNIPPETS[name])
    (folder / "token").write_text("secret")
    (folder / name).write_text(text)
    return folder / name


def test_there_is_a_snippet_for_each_sender() -> None:
    assert set(SNIPPETS) == {
        "prometheus.yml",
        "vmagent.yml",
        "otel-collector.yaml",
        "alertmanager.yml",
        "chat.yaml",
        "sigmascale.yaml",
    }
    assert all(isinstance(yaml.safe_load(text), dict) for text in SNIPPETS.values())


@pytest.mark.peer
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    run([program("prometheus", "promtool"), "check", "config", str(written("prometheus.yml", tmp_path))])


@pytest.mark.peer
def test_vmagent_accepts_its_configuration(tmp_path: Path) -> None:
    path, url = written("vmagent.yml", tmp_path), "http://127.0.0.1:9/api/v1/write"
    run([program("vmagent", "vmagent"), f"-promscrape.config={path}", f"-remoteWrite.url={url}", "-dryRun"])


@pytest.mark.peer
def test_an_alertmanager_accepts_its_configuration(tmp_path: Path) -> None:
    run([program("prometheus-alertmanager", "amtool"), "check-config", str(written("alertmanager.yml", tmp_path))])


def run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_our_rule_file_and_our_configuration_are_accepted(tmp_path: Path) -> None:
    rules = "pool: chat\nlimits: {min: 1, max: 8}\n"
    rules += "offers: {from: [{local: {type: w, command: 'serve {port}', ready: /health}}]}\nsignals:\n"
    rules += "".join(f"  {line}\n" for line in SNIPPETS["chat.yaml"].splitlines())
    rules += "rules:\n  - {name: slow, when: {slow: {above: 0.5}}, scale_out: {by: 1}}\n"
    checked = check_text(rules, file="chat.yaml", defaults=Defaults(None, None, True))
    assert checked.errors == ()
    assert not [str(w) for w in checked.warnings if "alert_firing" in str(w)]
    (tmp_path / "chat.yaml").write_text(rules)
    own = (
        f"{SNIPPETS['sigmascale.yaml']}\ndata_dir: {tmp_path}/data\nrules: {tmp_path}/chat.yaml\nlisten: 127.0.0.1:0\n"
    )
    (tmp_path / "sigmascale.yaml").write_text(own)
    service = Service(read_config(tmp_path / "sigmascale.yaml", {}))
    try:
        assert service.sources.push.alerts_believed_s == 13 * 3600.0
        assert service.sources.named["alertmanager"].alerts == ("RequestsSlow", "QueueFull")
    finally:
        service.stop()
