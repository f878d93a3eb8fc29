"""From a template and values to a cloud-init document: what it says, what it refuses, how large it may be."""

from __future__ import annotations

import base64
import gzip
import json
import shlex
import shutil
import subprocess
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from autoscaler.errors import InputError
from providers.bootstrap import Agent, Serve, Values, own_template, read_template, render
from providers.bootstrap.quoting import environment_line, exec_line
from providers.bootstrap.template import template
from tests.bootstrapped import files, units, words

SCHEMA = Path(__file__).parent / "data" / "cloudinit" / "schema-cloud-config-v1.json.gz"
SERVE = Serve(("vllm", "serve", "llama", "--port", "{{port}}"), environment=(("HF_HOME", "/srv/hf"),))
AGENT = Agent("http://10.0.0.2:9377", package="sigmascale==0.1.0", token_command="fetch-token", cloud="aws")
VALUES = Values("chat", "aws/p4d.24xlarge/us-east-1/spot", "aws", replicas=2, port=9000, serve=SERVE, agent=AGENT)
PLAIN = replace(VALUES, provider="")


def rendered(text: str, values: Values = PLAIN) -> Any:
    return yaml.safe_load(render(template(f"#cloud-config\n{text}".encode(), "boot.yaml"), values))


def refusal(text: str | bytes, values: Values = PLAIN) -> str:
    with pytest.raises(InputError) as raised:
        render(template(text if isinstance(text, bytes) else f"#cloud-config\n{text}".encode(), "boot.yaml"), values)
    return str(raised.value)


@cache
def schema() -> Any:
    return json.loads(gzip.decompress(SCHEMA.read_bytes()))


def complaints(document: Any) -> list[str]:
    return [error.message for error in jsonschema.Draft4Validator(schema()).iter_errors(document)]


def test_the_published_schema_notices_a_wrong_document() -> None:
    assert complaints({"runcmd": "ls"})
    assert complaints({"write_flies": []})


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(VALUES, id="serving and the agent"),
        pytest.param(replace(VALUES, agent=None), id="serving alone"),
        pytest.param(replace(VALUES, serve=None), id="the agent alone"),
    ],
)
def test_our_document_is_one_that_cloud_inits_published_schema_allows(values: Values) -> None:
    text = render(own_template(), values)
    assert text.startswith("#cloud-config\n")
    assert complaints(yaml.safe_load(text)) == []


def test_a_document_starts_serving_and_the_agent_under_systemd() -> None:
    document = yaml.safe_load(render(own_template(), VALUES))
    serve, agent = units(document)["sigmascale-serve"], units(document)["sigmascale-agent"]
    assert words(serve["ExecStart"]) == ["/usr/bin/env", "vllm", "serve", "llama", "--port", "9000"]
    assert (serve["Restart"], serve["LimitNOFILE"], serve["Environment"]) == ("always", "1048576", '"HF_HOME=/srv/hf"')
    assert words(agent["ExecStart"])[:6] == [
        *("/opt/sigmascale/venv/bin/sigmascale", "agent", "--push", "http://10.0.0.2:9377"),
        *("--token-file", "/opt/sigmascale/push-token"),
    ]
    assert document["runcmd"] == [["/bin/sh", "/opt/sigmascale/setup.sh"]]


def test_what_is_not_asked_for_leaves_no_file() -> None:
    def paths(values: Values) -> list[str]:
        return [Path(f["path"]).name for f in yaml.safe_load(render(own_template(), values))["write_files"]]

    assert paths(replace(VALUES, agent=None)) == ["sigmascale-serve.service", "setup.sh"]
    assert paths(replace(VALUES, serve=None)) == ["sigmascale-agent.service", "setup.sh"]


def test_the_same_template_and_values_make_the_same_bytes() -> None:
    assert render(own_template(), VALUES) == render(own_template(), replace(VALUES))


def test_placeholders_are_filled_in_wherever_a_text_stands() -> None:
    found = rendered(
        "runcmd:\n- [echo, '{{ pool }}-{{replicas}}', '{{port}} {{ready}}']\n- echo {{service}}\nhostname: '{{pool}}'"
    )
    assert found == {
        "runcmd": [["echo", "chat-2", "9000 /health"], "echo http://10.0.0.2:9377"],
        "hostname": "chat",
    }


def test_other_double_braces_and_other_values_stay_what_they_are() -> None:
    found = rendered("runcmd: [\"docker ps --format '{{.Names}}'\", '{{ Pool }}']\nntp: {enabled: true}\nx: 0644")
    assert found["runcmd"] == ["docker ps --format '{{.Names}}'", "{{ Pool }}"]
    assert (found["ntp"], found["x"]) == ({"enabled": True}, 420)


def test_no_value_can_become_a_key_a_command_or_a_second_word() -> None:
    nasty = "x'\n- rm: -rf\n\"$(reboot)` %i"
    values = replace(PLAIN, pool=nasty, serve=replace(SERVE, words=("serve", nasty), environment=(("A", nasty),)))
    document = rendered("runcmd: ['echo {{pool}}']\nwrite_files: [{path: /u, content: '{{serve_unit}}'}]", values)
    assert document["runcmd"] == [f"echo {nasty}"]
    unit = document["write_files"][0]["content"]
    assert [line for line in unit.splitlines() if line.startswith("- rm")] == []
    assert words(next(line for line in unit.splitlines() if line.startswith("ExecStart="))[10:])[2] == nasty


@given(st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1), min_size=1, max_size=5))
@settings(derandomize=True, deadline=None, max_examples=200)
def test_words_come_back_from_a_unit_as_they_were(some: list[str]) -> None:
    assert words(exec_line(["/bin/x", *some]))[1:] == some
    assert words(environment_line("A", some[0])) == [f"A={some[0]}"] or "$" in some[0]


NASTY = "50% of $HOME; \\ \"quoted\" 'text'\ttab `x` %n"


@pytest.mark.peer
@pytest.mark.parametrize("user", ["", "serving"])
def test_systemd_itself_takes_our_units(tmp_path: Path, user: str) -> None:
    found = shutil.which("systemd-analyze")
    if found is None:
        pytest.skip("systemd-analyze is not installed (package systemd)")
    serve = Serve(
        ("sleep", NASTY, ";", "", "-"),
        user=user,
        directory="/tmp",
        environment=(("A", NASTY), ("B", "")),
        environment_file="/run/serve.env",
        before=("true", NASTY),
        memory_bytes=1 << 30,
    )
    agent = replace(AGENT, command="/bin/true", flags=("--labels", NASTY))
    document = yaml.safe_load(render(own_template(), replace(VALUES, pool=NASTY, serve=serve, agent=agent)))
    written = [tmp_path / Path(path).name for path in files(document) if path.endswith(".service")]
    for path, content in zip(written, files(document).values(), strict=False):
        path.write_text(content)
    command = [found, "verify", "--man=no", *map(str, written)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (told.returncode, told.stdout + told.stderr) == (0, "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param("runcmd: ['{{prot}}']", "{{prot}} is no placeholder; did you mean {{port}}?", id="a slip"),
        pytest.param("runcmd: ['{{zzz}}']", "{{zzz}} is no placeholder; known are pool, offer,", id="nothing like it"),
        pytest.param("runcmd: [{{pool}}]", "is not YAML", id="a placeholder without quotes is no YAML"),
        pytest.param("runcmd: [", "boot.yaml:2:10: is not YAML", id="half-written"),
        pytest.param("- a\n- b", "is no mapping of cloud-init's modules", id="a list"),
        pytest.param("x: &a [*a]", "more than 10000 parts or 50 levels", id="a list that holds itself"),
        pytest.param("x: " + "[" * 5000, "is not YAML", id="five thousand levels"),
        pytest.param(
            "a: &a [x,x,x,x,x,x,x,x]\n"
            + "".join(f"{n}: &{n} [{','.join([f'*{m}'] * 8)}]\n" for m, n in pairwise("abcdef")),
            "more than 10000 parts",
            id="a few lines that stand for thousands",
        ),
        pytest.param(b"#!/bin/sh\necho", "does not begin with the line #cloud-config", id="a shell script"),
        pytest.param(b"## template: jinja\n#cloud-config\n", "has placeholders of its own", id="Jinja"),
        pytest.param(b"\xff\xfe", "is not UTF-8 text", id="no text"),
        pytest.param(b"#cloud-config\n" + b"#" * (257 << 10), "is larger than 262144 bytes", id="too large to read"),
    ],
)
def test_a_template_that_cannot_be_meant_is_refused_with_the_next_step(text: str | bytes, said: str) -> None:
    assert said in refusal(text)


def test_every_unknown_placeholder_is_named_at_once_up_to_five() -> None:
    said = refusal("runcmd: ['{{a}} {{b}} {{c}} {{d}} {{e}} {{f}} {{g}} {{a}}']")
    assert [f"{{{{{name}}}}} is no placeholder" in said for name in "abcdefg"] == [True] * 5 + [False] * 2
    assert "and 2 more" in said


def test_a_placeholder_without_a_value_says_what_gives_it_one() -> None:
    bare = replace(PLAIN, serve=None, agent=None)
    assert "{{service}} has no value; write agent" in refusal("runcmd: ['{{service}}']", bare)
    assert "{{serve_unit}} has no value; write serve" in refusal("runcmd: ['{{serve_unit}}']", bare)


def test_a_file_that_is_missing_or_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nothing.yaml cannot be read \(No such file or directory\); name a readable"):
        read_template(tmp_path / "nothing.yaml")
    with pytest.raises(InputError, match="is no file"):
        read_template(tmp_path)


@pytest.mark.parametrize(("provider", "limit"), [("aws", 16384), ("azure", 65535)])
def test_what_a_cloud_does_not_take_is_refused_to_the_byte(provider: str, limit: int) -> None:
    head = len(render(template(b"#cloud-config\nx: ''\n", "t"), replace(PLAIN, provider=provider)).encode()) - 2

    def made(size: int) -> str:
        text = f"#cloud-config\nx: {'y' * (size - head)}\n"
        return render(template(text.encode(), "boot.yaml"), replace(PLAIN, provider=provider))

    assert len(made(limit).encode()) == limit
    with pytest.raises(InputError, match=f"makes {limit + 1} bytes, {provider} takes at most {limit}; put what is"):
        made(limit + 1)


def test_comments_of_a_template_do_not_count() -> None:
    text = "#" * 20000 + "\nruncmd: [ls]"
    assert rendered(text, VALUES) == {"runcmd": ["ls"]}


KEY = "A" * 40
SECRETS = [
    pytest.param("-----BEGIN OPENSSH PRIVATE KEY-----", id="a private key"),
    pytest.param("key AKIAIOSFODNN7EXAMPLE", id="an AWS key"),
    pytest.param("ghp_" + "a1" * 18, id="a GitHub token"),
    pytest.param("hf_" + "aB" * 17, id="a Hugging Face token"),
    pytest.param("sk-" + "a1" * 12, id="an API key"),
    pytest.param("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl", id="a JWT"),
    pytest.param("pip install https://me:letmein@example.com/x.whl", id="a password in a URL"),
    pytest.param("curl -H 'Authorization: Bearer abcdefghijklmnopqrstuv'", id="a bearer token"),
    pytest.param("HF_TOKEN=abcdefgh1234", id="a variable called token"),
    pytest.param("export DB_PASSWORD='hunter22222'", id="a variable called password"),
    pytest.param("login --password verysecretpassword1", id="a flag called password"),
    pytest.param("DefaultEndpointsProtocol=https;AccountKey=" + KEY, id="a storage key"),
    pytest.param("https://x.blob.core.windows.net/a?sv=1&sig=" + KEY, id="a signed URL"),
]


@pytest.mark.parametrize("text", SECRETS)
def test_what_looks_like_a_secret_is_refused_and_not_repeated(text: str) -> None:
    for document in (
        {"runcmd": [text]},
        {"write_files": [{"path": "/x", "content": f"# first\n{text}\n"}]},
        {"write_files": [{"path": "/x", "content": base64.b64encode(text.encode()).decode(), "encoding": "b64"}]},
        {
            "write_files": [
                {"path": "/x", "content": base64.b64encode(gzip.compress(text.encode())).decode(), "encoding": "gz+b64"}
            ]
        },
    ):
        said = refusal(yaml.safe_dump(document, width=1000))
        assert "looks like" in said, document
        assert "fetch it on the machine" in said
        assert not [word for word in shlex.split(text.replace("'", "")) if len(word) > 12 and word in said]


def test_a_mapping_that_names_a_secret_is_refused() -> None:
    assert "chpasswd.password looks like a secret" in refusal("chpasswd: {password: hunter22222}")


def test_the_serving_environment_is_looked_at_too() -> None:
    values = replace(PLAIN, serve=replace(SERVE, environment=(("HF_TOKEN", "abcdefgh1234"),)))
    said = refusal("write_files: [{path: /x, content: '{{serve_unit}}'}]", values)
    assert "write_files[0].content line 8 looks like a secret" in said


@pytest.mark.parametrize(
    "text",
    [
        "SIGMASCALE_AGENT_TOKEN_FILE=/etc/sigmascale/push-token",
        "vllm serve llama --max-tokens 4096 --tokenizer meta-llama/Llama --api-key-file /run/key",
        "export HF_TOKEN=$(cat /run/hf-token)",
        'HF_TOKEN="$TOKEN"',
        "aws secretsmanager get-secret-value --secret-id prod/sigmascale --query SecretString",
        "https://example.com:8443/wheel.whl",
        "token_file: /opt/sigmascale/push-token",
        "password: {{pool}}",
        "docker run --env-file /run/serve.env ghcr.io/x/y@sha256:" + "a1" * 32,
    ],
)
def test_what_leads_to_a_secret_is_none(text: str) -> None:
    assert rendered(yaml.safe_dump({"runcmd": [text]}, width=1000))["runcmd"] == [text.replace("{{pool}}", "chat")]
