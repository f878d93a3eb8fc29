"""What is written to receivers, which alerts matchers select, which hosts may be asked."""

from __future__ import annotations

import json
import re

import pytest

from autoscaler.notifying.bodies import alertmanager, bodies, slack, template, webhook
from autoscaler.notifying.hosts import HostRules
from autoscaler.notifying.identity import fingerprint, identity
from autoscaler.notifying.matching import holds, parsed, selects
from autoscaler.notifying.muting import Mute, mutes
from autoscaler.types import Silence
from tests.notified import AT, alert, note, over, receiver

# --- Alertmanager's webhook ---------------------------------------------------------------------------------------


def test_a_webhook_message_holds_what_receivers_need() -> None:
    gone = alert(1, state="resolved", since=1_700_000_060.0, text="inside its band", value=401.0)
    body = json.loads(webhook.payload(note(alert(0), gone), "oncall", "https://scale.example"))
    first, second = body["alerts"]
    assert (body["version"], body["status"], body["receiver"]) == ("4", "firing", "oncall")
    assert body["groupLabels"] == {"alertname": "power", "pool": "chat"}
    assert body["groupKey"] == '{}:{alertname="power", pool="chat"}'
    common = {"alertname": "power", "instance": "node:9400", "pool": "chat", "severity": "warning"}
    assert body["commonLabels"] == common
    assert first["startsAt"] == "2023-11-14T22:13:20.250Z"
    assert (first["status"], first["endsAt"]) == ("firing", "0001-01-01T00:00:00Z")
    assert (second["status"], second["endsAt"]) == ("resolved", "2023-11-14T22:14:20.000Z")
    assert first["labels"]["gpu"] == "0"
    assert first["annotations"] == {"summary": "gpu_power_watts 520 is above its band 370 to 430", "value": "520"}
    assert first["fingerprint"] != second["fingerprint"]


def test_a_message_is_resolved_when_all_of_it_is() -> None:
    assert json.loads(webhook.payload(note(over(alert()))))["status"] == "resolved"


def test_a_flood_is_cut_and_counted() -> None:
    body = json.loads(webhook.payload(note(*(alert(n) for n in range(webhook.MAX_ALERTS + 7)))))
    assert (len(body["alerts"]), body["truncatedAlerts"]) == (webhook.MAX_ALERTS, 7)


def test_identity_is_that_of_alertmanager() -> None:
    """prometheus/common: the fingerprint of no labels is the offset of FNV-1a."""
    assert fingerprint([]) == "cbf29ce484222325"
    assert fingerprint([("a", "1"), ("b", "2")]) == fingerprint([("b", "2"), ("a", "1")])


# --- the other kinds ----------------------------------------------------------------------------------------------


def test_an_alertmanager_is_told_until_when_what_fires_is_believed() -> None:
    first, second = json.loads(alertmanager.payload((alert(0), over(alert(1))), AT, "https://scale.example"))
    assert (first["startsAt"], first["endsAt"]) == ("2023-11-14T22:13:20.250Z", "2023-11-14T22:17:20.250Z")
    assert second["endsAt"] == "2023-11-14T22:14:20.250Z"
    assert first["labels"]["alertname"] == "power"
    assert first["generatorURL"] == "https://scale.example"


def test_very_many_alerts_are_several_requests_to_an_alertmanager() -> None:
    some = note(*(alert(n) for n in range(alertmanager.AT_ONCE + 1)))
    found = list(bodies(receiver("http://h/", kind="alertmanager"), some, AT, ""))
    assert [b.firing for b in found] == [alertmanager.AT_ONCE, 1]


def test_a_slack_message_says_who_what_and_how_bad_and_links_nothing_of_ours() -> None:
    odd = alert(0, name="<!channel> & co", text="<http://evil|click> 1 > 0", severity="critical")
    body = json.loads(slack.payload(note(odd, alert(1)), "https://scale.example"))
    assert body["text"] == "[FIRING 2] &lt;!channel&gt; &amp; co chat"
    (attachment,) = body["attachments"]
    assert attachment["color"] == slack.COLOURS["critical"]
    texts = [block["text"]["text"] for block in attachment["blocks"]]
    assert texts[0] == "*<https://scale.example|[FIRING 2] &lt;!channel&gt; &amp; co chat>*"
    assert texts[1] == (
        "*&lt;!channel&gt; &amp; co* in chat: critical, since 2023-11-14 22:13 UTC\n"
        "&lt;http://evil|click&gt; 1 &gt; 0\ngpu=0, instance=node:9400"
    )


def test_a_slack_message_stays_within_the_limits_of_slack() -> None:
    long = [alert(n, text="&" * 5000) for n in range(30)]
    (attachment,) = json.loads(slack.payload(note(*long)))["attachments"]
    texts = [block["text"]["text"] for block in attachment["blocks"]]
    assert len(texts) == 1 + slack.SHOWN + 1
    assert texts[-1] == "and 20 more"
    assert max(map(len, texts)) <= 3000
    assert all(not t.rstrip(".").endswith(("&", "&a", "&am", "&amp")) for t in texts[1].split("\n"))


def test_a_resolved_slack_message_is_green() -> None:
    body = json.loads(slack.payload(note(over(alert()))))
    assert body["text"] == "[RESOLVED 1] power chat"
    assert body["attachments"][0]["color"] == slack.COLOURS["resolved"]


PAGER = """
{"event": {{ ("trigger" if status == "firing" else "resolve") | tojson }}, "key": {{ groupKey | tojson }},
 "gpus": [{% for a in alerts %}{{ a.labels.gpu | tojson }}{{ "," if not loop.last }}{% endfor %}],
 "rack": {{ commonLabels.rack | tojson }}}
"""


def test_a_template_gives_the_body_that_a_receiver_wants() -> None:
    (body,) = bodies(receiver("http://h/", kind="generic", template=PAGER), note(alert(0), alert(1)), AT, "")
    assert json.loads(body.text) == {"event": "trigger", "key": note(alert()).key, "gpus": ["0", "1"], "rack": None}


def test_a_template_that_fails_on_a_real_alert_loses_nothing() -> None:
    broken = '{"value": {{ 1 / (alerts | length - 1) }} }'
    (body,) = bodies(receiver("http://h/", kind="generic", template=broken), note(alert()), AT, "")
    assert json.loads(body.text)["version"] == "4"
    assert body.fault == "the template failed, Alertmanager's format was sent: division by zero"


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("{{ statsu | tojson }}", "'statsu' is not known; there are receiver, status,", id="a wrong name"),
        pytest.param("{{ status }}", "it gives no JSON", id="no JSON"),
        pytest.param("{\n{% if %}", "line 2: ", id="no template"),
        pytest.param("{{ alerts | no_such }}", "No filter named 'no_such'", id="an unknown filter"),
        pytest.param(
            "{{ ''.__class__.__mro__ | tojson }}", "'__class__' may not be asked for", id="a way out of the sandbox"
        ),
        pytest.param("{{ range(999999999) | list | tojson }}", "Range too big", id="far too much"),
        pytest.param("{{ ('a' * 10**9) | tojson }}", "works on numbers only", id="a text times a billion"),
        pytest.param("{{ (1/0) | tojson }}", "division by zero", id="a division by zero"),
        pytest.param('"' + "x" * 30_000 + '"', "more than 20,000 characters", id="a long one"),
    ],
)
def test_a_wrong_template_says_why(source: str, text: str) -> None:
    with pytest.raises(template.TemplateFaultError) as caught:
        template.tried(source, "pager")
    assert text in str(caught.value)


# --- matchers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("matcher", "yes", "no"),
    [
        ('pool="chat"', "chat", "chat-2"),
        ("pool=chat", "chat", ""),
        ('pool!="chat"', "", "chat"),
        ('pool=~"chat|embed"', "embed", "embedding"),
        ('pool=~"chat-.*"', "chat-2", "a chat-2"),
        ('pool!~"chat-.*"', "a chat-2", "chat-2"),
        ('pool=~"(?i)CHAT"', "chat", "chats"),
        (r'pool="a\"b\\c"', 'a"b\\c', "ab"),
    ],
)
def test_a_matcher_holds_for_the_whole_value(matcher: str, yes: str, no: str) -> None:
    assert holds(parsed(matcher), yes)
    assert not holds(parsed(matcher), no)
    assert parsed(str(parsed(matcher))) == parsed(matcher)


def test_a_label_that_is_not_there_is_empty() -> None:
    assert selects([parsed('rack=""'), parsed('gpu!="1"')], {"gpu": "0"})


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("pool", "'pool' is not a matcher; write one such as severity="),
        ("1pool=x", "is not a matcher"),
        ("pool=~'a'b c", "is not a matcher"),
        ('pool=~"a)|(b"', "'a)|(b' is not an expression of RE2 (unopened group)"),
        ('pool=~"(a{1000}){1000}"', "is not an expression of RE2 (it is too large)"),
        (f'pool="{"x" * 600}"', "the value of pool has more than 500 characters"),
    ],
)
def test_a_wrong_matcher_says_why(text: str, rule: str) -> None:
    with pytest.raises(ValueError, match=re.escape(rule)):
        parsed(text)


def test_an_expression_that_would_take_ages_elsewhere_takes_no_time() -> None:
    assert not holds(parsed('pool=~"(a+)+b"'), "a" * 20_000)


# --- muting -------------------------------------------------------------------------------------------------------


def silence(*matchers: str, starts: float = 0.0, ends: float = 100.0, name: str = "s") -> Silence:
    return Silence(name, tuple(parsed(m) for m in matchers), starts, ends, "ada", "why", starts)


def test_a_silence_mutes_what_all_its_matchers_select_while_it_lasts() -> None:
    some, one = [alert(0), alert(1)], silence("pool=chat", "gpu=1")
    assert mutes(some, [one], 50.0, inhibit=False) == {identity(some[1]): Mute(("s",))}
    assert mutes(some, [one], 100.0, inhibit=False) == {}
    assert mutes(some, [silence("pool=chat", starts=60.0)], 50.0, inhibit=False) == {}


def test_a_critical_alert_mutes_the_others_of_its_pool_if_that_is_wanted() -> None:
    bad, other = alert(1, severity="critical", name="slow"), alert(0, pool="embed")
    assert mutes([alert(0), bad, other], [], 0.0, inhibit=True) == {identity(alert(0)): Mute((), "slow")}
    assert mutes([alert(0), bad, other], [], 0.0, inhibit=False) == {}
    assert mutes([alert(0), over(bad)], [], 0.0, inhibit=True) == {}


# --- hosts --------------------------------------------------------------------------------------------------------

ANY = HostRules()
LISTED = HostRules.of(["hooks.example.com", "*.corp.example", "10.0.0.0/8", "127.0.0.1"])


@pytest.mark.parametrize(
    ("rules", "host", "addresses", "refusal"),
    [
        pytest.param(ANY, "hooks.example.com", ["93.184.216.34"], "", id="without a list any configured host"),
        pytest.param(ANY, "localhost", ["127.0.0.1"], "", id="this machine too"),
        pytest.param(LISTED, "HOOKS.example.com.", ["93.184.216.34"], "", id="a listed name"),
        pytest.param(LISTED, "a.corp.example", ["93.184.216.34"], "", id="a listed suffix"),
        pytest.param(LISTED, "corp.example", ["93.184.216.34"], "not in allowed_hosts", id="a suffix is no name"),
        pytest.param(LISTED, "evilcorp.example", ["93.184.216.34"], "not in allowed_hosts", id="half a label"),
        pytest.param(LISTED, "other", ["10.1.2.3"], "", id="a listed network"),
        pytest.param(LISTED, "other", ["10.1.2.3", "8.8.8.8"], "not in allowed_hosts", id="only one of its addresses"),
        pytest.param(LISTED, "::ffff:10.1.2.3", ["::ffff:10.1.2.3"], "", id="IPv4 inside IPv6"),
        pytest.param(ANY, "169.254.169.254", ["169.254.169.254"], "keep credentials", id="a metadata service"),
        pytest.param(ANY, "hooks.example.com", ["169.254.169.254"], "keep credentials", id="a name that leads there"),
        pytest.param(LISTED, "hooks.example.com", ["169.254.169.254"], "keep credentials", id="a listed name too"),
        pytest.param(ANY, "x", ["::ffff:169.254.169.254"], "keep credentials", id="hidden in IPv6"),
        pytest.param(ANY, "x", ["64:ff9b::a9fe:a9fe"], "keep credentials", id="behind a translator"),
        pytest.param(ANY, "x", ["fd00:ec2::254"], "keep credentials", id="over IPv6"),
        pytest.param(ANY, "x", ["fe80::1%eth0"], "keep credentials", id="link-local IPv6"),
        pytest.param(HostRules.of(["169.254.0.0/16"]), "x", ["169.254.169.254"], "", id="allowed by its CIDR"),
        pytest.param(ANY, "x", ["0.0.0.0"], "is no host", id="no address at all"),
        pytest.param(ANY, "x", [], "has no address", id="none"),
    ],
)
def test_messages_go_only_where_they_may(rules: HostRules, host: str, addresses: list[str], refusal: str) -> None:
    found = rules.refusal(host, addresses)
    assert refusal in found
    assert bool(found) is bool(refusal)


@pytest.mark.parametrize("entry", ["http://h", "h:80", "10.0.0.1/8", "a b", "*", "10.0.0", ""])
def test_what_is_no_host_is_told_apart(entry: str) -> None:
    with pytest.raises(ValueError, match="write"):
        HostRules.of([entry])
