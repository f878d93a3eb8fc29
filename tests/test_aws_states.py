"""What the AWS provider shows of instances: their states, why they are in them, and that it outlives a process."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from providers.aws import AwsProvider
from providers.shadow import ShadowProvider
from tests.awsworld import IMAGE, OFFER, SPOT, account, one, operate, ordered, provider, tell
from tests.peers.pages import until
from tests.peers.strict_moto import StrictMoto


@pytest.fixture
def world() -> Iterator[StrictMoto]:
    with account() as made:
        yield made


@pytest.fixture
def aws(world: StrictMoto) -> Iterator[AwsProvider]:
    made = provider(world)
    yield made
    made.close()


def test_a_new_instance_is_pending_until_ec2_runs_it_and_its_checks_pass(world: StrictMoto, aws: AwsProvider) -> None:
    world.boot_s, world.checks_s = 30.0, 90.0
    ordered(world, aws, offer=replace(OFFER, settings=(IMAGE, ("ready", "checks"))))
    told = []
    for _ in range(3):
        seen = one(aws.observe())
        told.append((seen.state, seen.detail))
        world.clock.at += 60.0
    assert told == [("pending", "EC2 starts it"), ("pending", "runs, waits for checks"), ("ready", "")]
    seen = one(aws.observe())
    assert (seen.since - seen.requested_at) == 120.0


def test_a_replica_is_ready_when_its_own_path_answers(world: StrictMoto, aws: AwsProvider) -> None:
    answers = {"status": 503}

    class Worker(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(answers["status"] if self.path == "/up" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Worker)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        settings = (IMAGE, ("ready", "/up"), ("port", str(server.server_port)))
        name = ordered(world, aws, offer=replace(OFFER, settings=settings))
        world.instance(name).nics[0].private_ip_address = "127.0.0.1"
        for _ in range(3):
            assert one(aws.observe()).state == "pending"
        answers["status"] = 200
        until(lambda: one(aws.observe()).state == "ready", "a ready replica")
        assert one(aws.observe()).address == f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_what_ended_by_itself_is_failed_with_ecs_words_for_a_while(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    world.loses(name, "Client.VolumeLimitExceeded")
    seen = one(aws.observe())
    assert (seen.state, "Client.VolumeLimitExceeded" in seen.detail) == ("failed", True)
    world.clock.at += aws.failed_for_s + 1.0
    assert aws.observe().instances == ()
    assert provider(world).observe().instances == (), "nor for a provider that has just started"


def test_what_we_ended_is_no_failure(world: StrictMoto, aws: AwsProvider) -> None:
    world.stop_s = 5.0
    name = ordered(world, aws)
    tell(world, aws, operate(world, "terminate", name))
    assert one(aws.observe()).state == "stopping"
    world.clock.at += 5.0
    assert aws.observe().instances == ()


def test_a_spot_notice_takes_an_instance_out_before_it_ends(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws, offer=SPOT)
    assert one(aws.observe()).state == "ready"
    world.interrupt(name, notice_s=120.0)
    seen = one(aws.observe())
    assert (seen.state, seen.address) == ("stopping", None)
    assert "marked-for-termination" in seen.detail
    assert aws.observe().size == 0, "so that its replacement is ordered now"
    world.clock.at += 120.0
    seen = one(aws.observe())
    assert (seen.state, "Spot instance termination" in seen.detail) == ("failed", True)


def test_blindness_for_spot_notices_does_not_blind_the_pool(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws, offer=SPOT)
    world.interrupt(name)
    assert one(aws.observe()).state == "stopping"
    world.fault("DescribeSpotInstanceRequests", "error", times=9, code="UnauthorizedOperation", status=403)
    assert one(aws.observe()).state == "stopping", "the last notice counts on"


def test_no_spot_instance_no_question_about_notices(world: StrictMoto, aws: AwsProvider) -> None:
    ordered(world, aws)
    aws.observe()
    assert world.wire.count("DescribeSpotInstanceRequests") == 0


def test_routing_outlives_the_process_that_set_it(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    aws.observe()
    world.clock.at += 10.0
    tell(world, aws, operate(world, "drain", name))
    before = one(aws.observe())
    world.clock.at += 100.0
    after = one(provider(world).observe())
    assert (before.state, after.state) == ("draining", "draining")
    assert after.since == before.since == world.clock.at - 100.0


def test_a_warm_instance_boots_once_rests_and_starts_again(world: StrictMoto, aws: AwsProvider) -> None:
    world.boot_s, world.stop_s = 20.0, 10.0
    name = ordered(world, aws, into="warm")
    told: list[tuple[str, int]] = []
    for step_s in (0.0, 30.0, aws.warm_up_s, 10.0):
        world.clock.at += step_s
        aws.observe()
        seen = one(aws.observe())
        told.append((seen.state, aws.observe().size))
    assert told == [("stopping", 0), ("stopping", 0), ("stopping", 0), ("warm", 0)]
    start = operate(world, "start", name)
    assert tell(world, aws, start).status == "accepted"
    assert one(aws.observe()).state == "pending"
    world.clock.at += 20.0
    assert one(aws.observe()).state == "ready"
    assert tell(world, aws, start).status == "done", "a repetition changes nothing"
    assert tell(world, aws, operate(world, "stop", name)).status == "accepted"
    world.clock.at += 10.0
    assert one(aws.observe()).state == "warm"
    assert tell(world, aws, start).status == "done"
    assert one(aws.observe()).state == "warm", "an old start that comes again starts nothing"


def test_a_start_that_was_cut_between_its_two_steps_is_finished_by_its_repetition(
    world: StrictMoto, aws: AwsProvider
) -> None:
    name = ordered(world, aws)
    tell(world, aws, operate(world, "stop", name))
    start = operate(world, "start", name)
    world.fault("StartInstances", "refuse")
    assert tell(world, aws, start).status == "unknown"
    assert one(aws.observe()).state == "warm"
    assert tell(world, aws, start).status == "accepted"
    assert world.instance(name).state == "running"
    assert one(aws.observe()).state == "ready"


def test_a_stop_that_was_cut_between_its_two_steps_is_a_warm_instance(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws)
    stop = operate(world, "stop", name)
    world.fault("CreateTags", "refuse")
    assert tell(world, aws, stop).status == "unknown"
    assert one(aws.observe()).state == "warm"
    assert tell(world, aws, stop).status == "accepted"


def test_a_start_without_capacity_is_a_shortage_and_leaves_it_warm(world: StrictMoto, aws: AwsProvider) -> None:
    world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = 1
    name = ordered(world, aws)
    tell(world, aws, operate(world, "stop", name))
    world.capacity["us-east-1a", "p4d.24xlarge", "on_demand"] = 0
    told = tell(world, aws, operate(world, "start", name))
    assert (told.status, told.error) == ("failed", "capacity")
    assert one(aws.observe()).state == "warm"


def test_an_instance_that_is_still_stopping_is_not_started(world: StrictMoto, aws: AwsProvider) -> None:
    world.stop_s = 10.0
    name = ordered(world, aws)
    tell(world, aws, operate(world, "stop", name))
    told = tell(world, aws, operate(world, "start", name))
    assert (told.status, "still stopping" in told.text) == ("failed", True)
    world.clock.at += 10.0
    assert one(aws.observe()).state == "warm"


def test_hibernation_is_asked_for_where_the_offer_says_so(world: StrictMoto, aws: AwsProvider) -> None:
    plain = ordered(world, aws)
    deep = ordered(world, aws, offer=replace(OFFER, settings=(*OFFER.settings, ("hibernate", "true"))))
    for name in (plain, deep):
        assert tell(world, aws, operate(world, "stop", name)).status == "accepted"
    assert world.hibernated == {deep}


def test_a_spot_instance_is_not_stopped(world: StrictMoto, aws: AwsProvider) -> None:
    name = ordered(world, aws, offer=SPOT)
    told = tell(world, aws, operate(world, "stop", name))
    assert (told.status, "terminate it" in told.text) == ("failed", True)
    assert world.wire.count("StopInstances") == 0


def test_a_shadow_looks_and_touches_nothing(world: StrictMoto, aws: AwsProvider) -> None:
    ordered(world, aws, into="warm")
    ordered(world, aws)
    world.clock.at += aws.warm_up_s + 1.0
    world.wire.calls.clear()
    fleet = ShadowProvider(aws).observe()
    assert sorted(i.state for i in fleet.instances) == ["ready", "stopping"]
    assert {name for name, _ in world.wire.calls} == {"DescribeInstances"}
