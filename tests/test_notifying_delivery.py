"""Delivery of messages to real receivers over real HTTP: in trouble nothing is lost, and nobody else waits."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import subprocess
from pathlib import Path
from threading import Event, Thread

import pytest

from autoscaler.clock import SystemClock
from autoscaler.errors import StorageError
from autoscaler.journal import Journal
from autoscaler.notifying.lane import Patience
from tests.notified import SECRET, WITHIN_S, LaneClock, alert, desk, free_port, over, publish, receiver, serving
from tests.peers.pages import until, without_waiting
from tests.peers.programs import program

# --- what arrives -----------------------------------------------------------------------------------------------


def test_an_alert_reaches_every_receiver_and_so_does_its_end() -> None:
    with (
        serving() as one,
        serving() as two,
        desk(SystemClock(), receiver(one.url), receiver(two.url, name="b")) as told,
    ):
        told.show(alert())
        for got in (one, two):
            got.wait_for(lambda got=got: len(got.bodies) == 1)  # type: ignore[misc]
            assert got.bodies[0]["alerts"][0]["labels"]["alertname"] == "power"
        told.show(over(alert()))
        for got in (one, two):
            got.wait_for(lambda got=got: len(got.bodies) == 2)  # type: ignore[misc]
            assert got.bodies[1]["status"] == "resolved"
        assert told.settled(lambda s: s.delivered == 2).queued == 0
        until(lambda: told.states() == ["delivered"] * 4, "four messages that are done", WITHIN_S)


def test_every_attempt_carries_the_id_of_its_message() -> None:
    with serving(500) as got, desk(LaneClock(1000.0), receiver(got.url)) as told:
        told.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
        first, second = got.headers
        assert first["x-sigmascale-delivery"] == second["x-sigmascale-delivery"] == first["idempotency-key"]
        assert (first["x-sigmascale-attempt"], second["x-sigmascale-attempt"]) == ("1", "2")
        ((_, message),) = told.journal.notified.messages()
        assert message.id == first["x-sigmascale-delivery"]


def test_a_signature_can_be_verified_as_the_docs_say(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("0123456789abcdef0123456789abcdef\n", encoding="ascii")
    with serving() as got, desk(LaneClock(1234.9), receiver(got.url, hmac_file=key)) as told:
        told.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
    header, body = got.headers[0]["x-sigmascale-signature"], got.raw[0]
    fields = dict(part.split("=", 1) for part in header.split(","))
    expected = hmac.new(key.read_bytes().strip(), fields["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    assert hmac.compare_digest(expected, fields["v1"])
    assert fields["t"] == "1234"


def test_secrets_come_from_files_that_are_read_at_every_attempt(tmp_path: Path) -> None:
    token, url = tmp_path / "token", tmp_path / "url"
    token.write_text("Bearer one\n", encoding="ascii")
    with serving() as got, serving() as moved:
        from autoscaler.alerting import Address

        url.write_text(f"# the pager\n{got.url}\n", encoding="ascii")
        to = receiver(header_files=(("Authorization", token),))
        to = type(to)(**{n: getattr(to, n) for n in type(to).__slots__} | {"addresses": (Address(file=url),)})
        with desk(SystemClock(), to) as told:
            told.show(alert())
            got.wait_for(lambda: len(got.bodies) == 1)
            token.write_text("Bearer two\n", encoding="ascii")
            url.write_text(moved.url, encoding="ascii")
            told.show(alert(), alert(1))
            moved.wait_for(lambda: len(moved.bodies) == 1)
    assert got.headers[0]["authorization"] == "Bearer one"
    assert moved.headers[0]["authorization"] == "Bearer two"


def test_user_and_password_of_a_url_are_sent_as_a_header() -> None:
    with serving() as got, desk(SystemClock(), receiver(got.url.replace("://", "://ada:p%40ss@"))) as told:
        told.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
        assert "p%40ss" not in repr(told.notifier.status())
    assert got.headers[0]["authorization"] == "Basic YWRhOnBAc3M="


@pytest.mark.peer
def test_an_https_receiver_is_trusted_by_its_authority_only(tmp_path: Path) -> None:
    pem = tmp_path / "both.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-days", "1"]
    words += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "crt")]
    subprocess.run([program("openssl", "openssl"), *words], check=True, capture_output=True)
    pem.write_bytes((tmp_path / "crt").read_bytes() + (tmp_path / "key").read_bytes())
    with serving(tls=pem) as got:
        url = got.url.replace("http://", "https://")
        to = receiver(url, name="ours", ca_file=tmp_path / "crt"), receiver(url, name="anybody")
        with desk(SystemClock(), *to) as told:
            told.show(alert())
            got.wait_for(lambda: len(got.bodies) == 1)
            told.settled(lambda s: s.delivered == 1)
            refused = told.settled(lambda s: s.failed_attempts >= 1, 1)
    assert "CERTIFICATE_VERIFY_FAILED" in refused.last_error
    assert refused.delivered == 0


@pytest.mark.parametrize(
    ("allowed", "text"),
    [
        pytest.param(("hooks.example.com",), "host 127.0.0.1 is not in allowed_hosts", id="another host"),
        pytest.param(("10.0.0.0/8",), "host 127.0.0.1 is not in allowed_hosts", id="another network"),
    ],
)
def test_a_host_that_is_not_allowed_is_not_connected_to(allowed: tuple[str, ...], text: str) -> None:
    with serving() as got, desk(SystemClock(), receiver(got.url), allowed_hosts=allowed) as told:
        told.show(alert())
        assert text in told.settled(lambda s: s.failed_attempts >= 1).last_error
        assert got.attempts == 0


def test_a_name_that_comes_to_mean_a_metadata_service_is_not_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever answers for a name may change its address after the configuration was read."""
    asked: list[str] = []

    def rebound(host: str, *_: object, **__: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    with desk(SystemClock(), receiver("http://hooks.example.com/x"), start=False) as told:
        monkeypatch.setattr(socket, "getaddrinfo", rebound)
        publish(told.board, alert())
        told.notifier.start()
        error = told.settled(lambda s: s.failed_attempts >= 1).last_error
        monkeypatch.undo()
    assert error.startswith("host hooks.example.com is 169.254.169.254, where clouds keep credentials")
    assert set(asked) == {"hooks.example.com"}


def test_an_allowed_network_or_name_is(tmp_path: Path) -> None:
    with serving() as got:
        for number, allowed in enumerate(("127.0.0.0/8", "localhost")):
            url = got.url.replace("127.0.0.1", "localhost") if allowed == "localhost" else got.url
            with desk(SystemClock(), receiver(url), allowed_hosts=(allowed,)) as told:
                told.show(alert())
                got.wait_for(lambda number=number: len(got.bodies) == number + 1)  # type: ignore[misc]


# --- receivers in trouble ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [500, 503, 429, 302])
def test_a_receiver_in_trouble_is_tried_again_with_growing_waits(status: int) -> None:
    clock = LaneClock(1000.0)
    moved = "http://127.0.0.1:9/else"
    with serving(status, status, status, location=moved) as got, desk(clock, receiver(got.url)) as told:
        told.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
        done = told.settled(lambda s: s.delivered == 1)
        assert (got.attempts, done.failed_attempts) == (4, 3)
        assert done.last_error.startswith(f"HTTP {status}")
        assert done.last_delivered_at is not None
        assert done.last_delivered_at >= 1000.0 + 1 + 2 + 4


def test_a_redirect_is_not_followed_and_people_are_told_what_to_do() -> None:
    with serving() as elsewhere, serving(302, 302, location=f"http://127.0.0.1:{elsewhere.port}/") as got:
        with desk(LaneClock(), receiver(got.url)) as told:
            told.show(alert())
            got.wait_for(lambda: len(got.bodies) == 1)
            error = told.settled(lambda s: s.delivered == 1).last_error
        assert error == "HTTP 302: redirects are not followed; write the new address into url"
        assert elsewhere.attempts == 0


def test_a_receiver_may_say_when_it_wants_to_be_asked_again() -> None:
    clock = LaneClock(1000.0)
    with serving(429, retry_after="40") as got, desk(clock, receiver(got.url)) as told:
        told.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
        assert (told.settled(lambda s: s.delivered == 1).last_delivered_at or 0.0) >= 1040.0


@pytest.mark.parametrize("status", [400, 404])
def test_a_refused_message_is_not_repeated_and_says_what_the_receiver_said(status: int) -> None:
    with serving(status, text=b"no_such_channel") as got, desk(LaneClock(), receiver(got.url)) as told:
        told.show(alert())
        done = told.settled(lambda s: s.refused == 1)
        told.show(alert(), alert(1))
        got.wait_for(lambda: len(got.bodies) == 1)
        assert done.last_error == f"HTTP {status}: no_such_channel"
        until(lambda: told.states() == ["refused", "delivered"], "both messages done", WITHIN_S)


def test_what_a_receiver_says_is_not_repeated_when_it_holds_the_secret_path() -> None:
    with serving(404, text=f"no hook {SECRET}".encode()) as got, desk(LaneClock(), receiver(got.url)) as told:
        told.show(alert())
        assert told.settled(lambda s: s.refused == 1).last_error == "HTTP 404"


def test_messages_of_a_group_keep_their_order_through_trouble() -> None:
    with serving(500, 500, 500) as got, desk(LaneClock(), receiver(got.url), start=False) as told:
        publish(told.board, alert())
        told.notifier.look(0.0)
        publish(told.board, over(alert()))
        told.notifier.look(1.0)
        told.notifier.start()
        got.wait_for(lambda: len(got.bodies) >= 2)
        assert [b["status"] for b in got.bodies][:2] == ["firing", "resolved"]


def test_a_group_in_trouble_does_not_hold_up_the_others() -> None:
    clock = SystemClock()
    patience = Patience(first_wait_s=600.0, longest_wait_s=600.0)
    with serving(500) as got, desk(clock, receiver(got.url), patience=patience) as told:
        told.show(alert())
        told.settled(lambda s: s.failed_attempts == 1)
        told.show(alert(), alert(1, name="heat", key="heat"))
        got.wait_for(lambda: len(got.bodies) == 1)
        assert got.bodies[0]["groupLabels"]["alertname"] == "heat"


def test_a_message_is_given_up_when_its_time_is_over_and_what_still_fires_is_told_again() -> None:
    clock = LaneClock(1000.0)
    url = f"http://127.0.0.1:{free_port()}/{SECRET}"
    with desk(clock, receiver(url, expires_s=300.0)) as told:
        told.show(alert())
        done = told.settled(lambda s: s.expired >= 2)
        assert done.last_error.startswith("ConnectError")
        until(lambda: told.states()[:2] == ["expired", "expired"], "two messages given up", WITHIN_S)
        assert clock.now() >= 1600.0


def test_a_receiver_that_hangs_blocks_neither_the_sender_nor_another_receiver() -> None:
    hang = Event()
    with serving(hang=hang) as slow, serving() as quick:
        to = (receiver(slow.url, name="slow", timeout_s=0.2), receiver(quick.url, name="quick"))
        with desk(SystemClock(), *to) as told:
            for n in range(20):
                told.show(*(alert(m) for m in range(n + 1)))
            quick.wait_for(lambda: bool(quick.bodies) and len(quick.bodies[-1]["alerts"]) == 20)
            stuck = told.settled(lambda s: s.failed_attempts >= 1)
            assert (stuck.delivered, stuck.last_error) == (0, "ReadTimeout")


def test_a_receiver_that_drips_is_left_when_the_time_out_is_over() -> None:
    """Every read of its answer succeeds, so that only a deadline of all of it ends the attempt."""
    stop = Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
                while not stop.wait(0.02):
                    try:
                        connection.sendall(b"a")
                    except OSError:
                        return

        thread = Thread(target=drip, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with desk(SystemClock(), receiver(url, timeout_s=0.3)) as told:
            told.show(alert())
            assert told.settled(lambda s: s.failed_attempts == 1).last_error == "ReadTimeout"
        stop.set()
        thread.join(WITHIN_S)


def test_a_stop_delivers_what_waits_and_does_not_wait_for_a_dead_receiver() -> None:
    with serving() as got:
        to = (receiver(got.url), receiver(f"http://127.0.0.1:{free_port()}/", name="dead"))
        with desk(SystemClock(), *to, start=False, patience=Patience(first_wait_s=600.0)) as told:
            publish(told.board, alert())
            told.notifier.start()
            told.notifier.stop()
            assert len(got.bodies) == 1
            assert told.notifier.status()[1].queued == 1


def test_a_stop_waits_for_no_number_of_receivers_that_hang() -> None:
    hang = Event()
    with serving(hang=hang) as slow:
        to = [receiver(slow.url, name=f"r{n}", timeout_s=120.0) for n in range(8)]
        with desk(SystemClock(), *to, start=False) as told:
            publish(told.board, alert())
            told.notifier.start()
            until(lambda: len(told.states()) == 8, "messages for all", WITHIN_S)
            with without_waiting(60.0):
                told.notifier.stop(2.0)
            assert told.states() == ["waiting"] * 8
            hang.set()


def test_secrets_in_urls_are_never_written(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Neither our log lines nor those of the HTTP library, a status or the journal show more than the host."""
    caplog.set_level(logging.DEBUG)
    with serving(500, 302, 404) as got, desk(LaneClock(), receiver(got.url), folder=tmp_path) as told:
        told.show(alert())
        done = told.settled(lambda s: s.refused == 1)
        status = repr(told.notifier.status())
        written = "\n".join(told.journal.dump())
    output = capsys.readouterr()
    everything = caplog.text + output.out + output.err + repr(done) + status + written
    assert SECRET not in everything
    assert f"http://127.0.0.1:{got.port}" in everything


# --- the journal ------------------------------------------------------------------------------------------------


def test_a_message_that_was_not_delivered_is_sent_by_the_next_service(tmp_path: Path) -> None:
    port, clock = free_port(), SystemClock()
    to = receiver(f"http://127.0.0.1:{port}/")
    with desk(clock, to, folder=tmp_path, patience=Patience(first_wait_s=600.0)) as told:
        told.show(alert())
        told.settled(lambda s: s.failed_attempts >= 1)
        assert told.states() == ["waiting"]
    with serving(port=port) as got, desk(clock, to, folder=tmp_path, patience=Patience(first_wait_s=0.0)) as later:
        later.show(alert())
        got.wait_for(lambda: len(got.bodies) == 1)
        until(lambda: later.states() == ["delivered"], "one message, delivered", WITHIN_S)
    assert int(got.headers[0]["x-sigmascale-attempt"]) > 1


def test_a_restart_repeats_nothing_and_knows_what_to_end(tmp_path: Path) -> None:
    with serving() as got:
        with desk(SystemClock(), receiver(got.url), folder=tmp_path) as told:
            told.show(alert())
            got.wait_for(lambda: len(got.bodies) == 1)
            told.settled(lambda s: s.delivered == 1)
        with desk(SystemClock(), receiver(got.url), folder=tmp_path) as later:
            later.show(alert())
            later.show()
            got.wait_for(lambda: len(got.bodies) == 2)
            assert [b["status"] for b in got.bodies] == ["firing", "resolved"]


def test_before_its_first_tick_a_restarted_service_ends_nothing(tmp_path: Path) -> None:
    with serving() as got:
        with desk(SystemClock(), receiver(got.url), folder=tmp_path) as told:
            told.show(alert())
            told.settled(lambda s: s.delivered == 1)
        with desk(SystemClock(), receiver(got.url), folder=tmp_path, start=False) as later:
            later.notifier.look(SystemClock().now())
            publish(later.board, judged=False)
            later.notifier.look(SystemClock().now())
            assert later.states() == ["delivered"]


class FullDisk:
    """A journal's record of what is told, on a disk that takes nothing while `full`."""

    def __init__(self, journal: Journal) -> None:
        self._kept, self.full = journal.notified, True

    def tell(self, *args: object) -> None:
        if self.full:
            raise StorageError("journal x: cannot write: disk is full")
        self._kept.tell(*args)  # type: ignore[arg-type]

    def __getattr__(self, name: str) -> object:
        return getattr(self._kept, name)


def test_a_full_disk_is_said_and_the_message_is_sent_from_memory() -> None:
    from autoscaler.alerting import Alerting
    from autoscaler.board import Board
    from autoscaler.notifying.notifier import Notifier

    journal, board = Journal(), Board()
    records = FullDisk(journal)
    with serving() as got:
        clock = SystemClock()
        notifier = Notifier(Alerting((receiver(got.url),)), board, records, clock)  # type: ignore[arg-type]
        notifier.start()
        publish(board, alert())
        notifier.wake()
        got.wait_for(lambda: len(got.bodies) == 1)
        until(lambda: "disk is full" in notifier.problem(), "the problem", WITHIN_S)
        records.full = False
        publish(board, over(alert()))
        notifier.wake()
        got.wait_for(lambda: len(got.bodies) == 2)
        notifier.stop()
    assert notifier.problem() == ""
    assert [m.state for _, m in journal.notified.messages()] == ["delivered", "delivered"]
    journal.close()


def test_a_message_whose_receiver_is_gone_from_the_configuration_is_dropped(tmp_path: Path) -> None:
    with desk(SystemClock(), receiver(f"http://127.0.0.1:{free_port()}/"), folder=tmp_path) as told:
        told.show(alert())
        told.settled(lambda s: s.failed_attempts >= 1)
    with serving() as got, desk(SystemClock(), receiver(got.url, name="other"), folder=tmp_path) as later:
        until(lambda: later.states()[0] == "dropped", "the message of nobody", WITHIN_S)


def test_old_messages_are_forgotten_and_those_that_wait_are_not(tmp_path: Path) -> None:
    with desk(LaneClock(1000.0), receiver("http://127.0.0.1:9/"), folder=tmp_path, start=False) as told:
        publish(told.board, alert())
        told.notifier.look(1000.0)
        ((_, waits),) = told.journal.notified.messages()
        done = type(waits)(**{n: getattr(waits, n) for n in type(waits).__slots__} | {"id": "d", "state": "delivered"})
        told.journal.notified.settle([done])
        assert told.journal.notified.forget(1000.0 + 31 * 86400.0) == 1
        assert told.states() == ["waiting"]


def test_a_message_that_was_written_and_never_tried_is_sent_by_the_next_service(tmp_path: Path) -> None:
    """As after a kill between the journal and the first attempt."""
    with serving() as got:
        with desk(SystemClock(), receiver(got.url), folder=tmp_path, start=False) as told:
            publish(told.board, alert())
            told.notifier.look(SystemClock().now())
            ((_, written),) = told.journal.notified.messages()
            assert (written.state, written.attempts, got.attempts) == ("waiting", 0, 0)
        with desk(SystemClock(), receiver(got.url), folder=tmp_path) as later:
            got.wait_for(lambda: len(got.bodies) == 1)
            until(lambda: later.states() == ["delivered"], "the message", WITHIN_S)
            ((_, done),) = later.journal.notified.messages()
    assert (got.headers[0]["x-sigmascale-delivery"], done.body) == (written.id, "")


def test_what_waits_is_bounded_in_size_too() -> None:
    patience = Patience(queue_characters=2000)
    with desk(LaneClock(1000.0), receiver("http://127.0.0.1:9/"), start=False, patience=patience) as told:
        publish(told.board, *(alert(n, name=f"n{n}") for n in range(5)))
        told.notifier.look(1000.0)
        states = told.states()
        assert states.count("waiting") in range(1, 4)
        assert states == sorted(states), "the oldest are dropped"


def test_a_full_queue_drops_its_oldest_messages_and_says_so() -> None:
    patience = Patience(queue=3)
    with desk(LaneClock(1000.0), receiver("http://127.0.0.1:9/"), start=False, patience=patience) as told:
        publish(told.board, *(alert(n, name=f"n{n}") for n in range(5)))
        told.notifier.look(1000.0)
        assert told.states() == ["dropped", "dropped", "waiting", "waiting", "waiting"]
        assert told.notifier.status()[0].dropped == 2
