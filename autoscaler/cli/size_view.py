"""What `sigmascale size` prints: text for people, JSON for scripts."""

from __future__ import annotations

import dataclasses
import json
import math
import shlex
from collections.abc import Iterator
from typing import Any

import typer

from autoscaler.capacity.arithmetic import lines
from autoscaler.capacity.flags import command, notes_for
from autoscaler.capacity.gpus import Gpu
from autoscaler.capacity.sizing import Sizing, Wish, layout_notes, precision_notes, smallest
from autoscaler.cli.page import table
from autoscaler.cli.sized import Answer, Offered, answer
from autoscaler.clock import SystemClock
from autoscaler.words import amount, counted
from providers.catalog import age_warning, in_region, read_catalog

PARTS = {"memory": "Memory", "batch": "Batch", "speed": "Speed of one replica", "rate": "Requests"}
SHOWN = 12


def show(
    wish: Wish, asked: Gpu | None, provider: str | None, region: str | None, engines: tuple[str, ...], as_json: bool
) -> bool:
    """Print everything; False when nothing holds the model or meets the goal."""
    machines = in_region(read_catalog(), provider, region)
    found = answer(wish, asked, machines)
    warning = age_warning(machines, SystemClock().now())
    good = found.best is not None and found.best.sizing.planned_rate > 0
    if as_json:
        typer.echo(json.dumps(_shown(wish, asked, found, engines, warning), indent=2, allow_nan=False))
    else:
        typer.echo("\n".join(_text(wish, asked, found, engines, warning)))
    return good


def _text(wish: Wish, asked: Gpu | None, found: Answer, engines: tuple[str, ...], warning: str) -> Iterator[str]:
    best = found.best
    on = asked.name if asked else best.gpu.name if best else "any GPU"
    head = f"{wish.model.name} in {wish.precision.name} on {on}"
    if best is None:
        yield f"{head}: nothing in the catalogue holds a replica"
    else:
        sizing = best.sizing
        yield f"{head}: {counted(sizing.layout.gpus, 'GPU')} a replica, {sizing.layout.text}"
        least = smallest(wish, best.gpu, best.gpus, joined=not best.alone)
        if least is not None and least.layout.gpus < sizing.layout.gpus:
            yield _fewer(least)
        yield _serves(best)
    yield from (f"note: {note}" for note in _notes(wish, asked, found))
    if best is not None:
        yield from _arithmetic(best)
    yield from _instances(found)
    if warning:
        yield f"note: {warning}"
    if best is not None:
        for engine in engines:
            yield ""
            yield {"vllm": "vLLM", "sglang": "SGLang"}[engine]
            yield f"  {shlex.join(command(engine, best.sizing, best.gpus))}"
            yield from (f"  {note}" for note in notes_for(engine, best.sizing, best.gpus))


def _fewer(least: Sizing) -> str:
    """What is wrong with a smaller layout that holds the model too."""
    alpha_s, goal_s = least.prior.replica.alpha_s, least.wish.objective.itl_s
    gpus = "1 GPU holds" if least.layout.gpus == 1 else f"{least.layout.gpus} GPUs hold"
    step = f"{gpus} the model too ({least.layout.text}), where a step takes about {alpha_s * 1e3:.0f} ms"
    if goal_s is None or least.planned_rate > 0:
        return f"{step}, which leaves less for the batch."
    misses = "which misses" if alpha_s >= goal_s else "which is too uncertain for"
    return f"{step}, {misses} the goal of {goal_s * 1e3:g} ms; a longer --itl chooses that."


def _serves(best: Offered) -> str:
    sizing, wish = best.sizing, best.sizing.wish
    goal = wish.objective.itl_s
    if sizing.planned_rate <= 0:
        alpha, itl = sizing.prior.replica.alpha_s, goal or 0.0
        if alpha < itl and wish.objective.percentile == "mean":
            return "No rate meets the goal with the certainty that is planned with; see the arithmetic."
        return f"No rate meets the goal: a step alone takes about {alpha * 1e3:.0f} ms, the goal is {itl * 1e3:g} ms."
    low, median = sizing.capacity.low, sizing.capacity.median
    text = f"A replica serves {low:.3g} to {median:.3g} requests/s at the goal (20th percentile, median); "
    text += f"plan with {sizing.planned_rate:.3g}."
    if sizing.replicas is not None:
        text += f" {amount(wish.rate or 0)} requests/s need {counted(sizing.replicas, 'replica')}."
    return text


def _notes(wish: Wish, asked: Gpu | None, found: Answer) -> list[str]:
    notes = []
    best = found.best
    if found.why_small and asked is not None:
        notes.append(f"no single instance with {asked.name} holds a replica: {found.why_small}.")
    gpu = best.gpu if best is not None else asked
    if gpu is not None:
        notes += precision_notes(wish.model, wish.precision, gpu)
        if not gpu.checked:
            notes.append(f"bandwidth and arithmetic of the {gpu.name} were not confirmed by a source.")
    if best is not None:
        notes += layout_notes(best.sizing)
        if best.machine is None:
            notes.append(f"nothing in the catalogue has {best.gpu.name} there; a machine with 8 of them is assumed.")
    return notes


def _arithmetic(best: Offered) -> Iterator[str]:
    rows = lines(best.sizing)
    wide, middle = max(len(r.what) for r in rows), max(len(r.how) for r in rows)
    for part, title in PARTS.items():
        yield ""
        yield title
        for row in rows:
            if row.part == part:
                result = f" = {row.result}" if row.result else ""
                yield f"  {row.what:<{wide}}  {row.how:<{middle}}{result}".rstrip()


def _instances(found: Answer) -> Iterator[str]:
    yield ""
    if found.offered and found.best is not None and found.best.machine is not None:
        yield "Instances, cheapest first"
        yield from (f"  {line}" for line in table([_heads(found), *map(_cells, found.offered[:SHOWN])]))
        if len(found.offered) > SHOWN:
            yield f"  and {len(found.offered) - SHOWN} more; --json shows them"
    if found.small:
        shown = ", ".join(found.small[:SHOWN]) + (", ..." if len(found.small) > SHOWN else "")
        yield f"Too small for a replica: {shown}"
    if found.others:
        yield "Other GPUs of which one instance holds a replica and meets the goal"
        yield from (f"  {line}" for line in table([_heads(found), *map(_cells, found.others)]))


def _heads(found: Answer) -> tuple[str, ...]:
    heads = ("INSTANCE", "GPUS", "SHARDING", "REPLICAS", "REQUESTS/S", "USD/H", "USD/1M REQUESTS")
    first = (*found.offered, *found.others)[0]
    return (*heads, "FOR THE RATE", "REGION") if first.sizing.wish.rate is not None else (*heads, "REGION")


def _cells(offer: Offered) -> tuple[str, ...]:
    machine, sizing = offer.machine, offer.sizing
    assert machine is not None, "instances of the catalogue only"
    price = machine.usd_per_hour
    held = str(offer.replicas_each) if offer.alone else f"1 on {offer.instances_each}"
    served = offer.replicas_each * sizing.planned_rate
    million = offer.usd_per_million
    cells: tuple[str, ...] = (
        machine.type,
        f"{offer.gpus} {offer.gpu.name}",
        sizing.layout.text,
        held,
        f"{served:.3g}" if served else "misses the goal",
        "unknown" if price is None else f"{price:,.2f}",
        "-" if math.isinf(million) else f"{million:,.0f}" if million >= 100 else f"{million:.3g}",
    )
    if sizing.wish.rate is not None:
        total = offer.usd_per_hour
        rated = "-" if offer.instances is None else str(offer.instances)
        cells = (*cells, rated + ("" if total is None else f" at {total:,.2f} USD/h"))
    return (*cells, machine.region)


# --- JSON -----------------------------------------------------------------------------------------------------------


def _shown(wish: Wish, asked: Gpu | None, found: Answer, engines: tuple[str, ...], warning: str) -> dict[str, Any]:
    best = found.best
    return {
        "model": dataclasses.asdict(wish.model),
        "precision": wish.precision.name,
        "kv_precision": wish.kv_precision,
        "max_model_len": wish.max_model_len,
        "input_tokens": wish.workload.input_tokens,
        "output_tokens": wish.workload.output_tokens,
        "prefix_hit_ratio": wish.workload.prefix_hit_ratio,
        "objective": dataclasses.asdict(wish.objective),
        "rate": wish.rate,
        "gpu": asked.name if asked else None,
        "single_instance_fits": any(o.alone for o in found.offered),
        "replica": _replica(best) if best else None,
        "instances": [_offer(o) for o in found.offered],
        "other_gpus": [_offer(o) for o in found.others],
        "too_small": list(found.small),
        "engines": {
            name: {
                "command": list(command(name, best.sizing, best.gpus)),
                "notes": list(notes_for(name, best.sizing, best.gpus)),
            }
            for name in engines
            if best is not None
        },
        "arithmetic": [dataclasses.asdict(line) for line in lines(best.sizing)] if best else [],
        "notes": [*_notes(wish, asked, found), *([warning] if warning else [])],
    }


def _replica(best: Offered) -> dict[str, Any]:
    sizing = best.sizing
    least = smallest(sizing.wish, best.gpu, best.gpus, joined=not best.alone) or sizing
    numbers = sizing.prior.replica
    return {
        "gpu": best.gpu.name,
        "gpus": sizing.layout.gpus,
        "fewest_gpus": least.layout.gpus,
        "tensor_parallel": sizing.layout.tp,
        "pipeline_parallel": sizing.layout.pp,
        "expert_parallel": sizing.layout.ep,
        "weight_bytes": sizing.wish.model.weight_bytes(sizing.wish.precision),
        "weight_bytes_per_gpu": sizing.memory.weights,
        "kv_bytes_per_token": sizing.wish.model.kv_bytes(sizing.wish.kv_precision),
        "kv_tokens": int(sizing.memory.kv_tokens),
        "batch_limit": int(sizing.batch),
        "alpha_s": numbers.alpha_s,
        "beta_s": numbers.beta_s,
        "gamma_s": numbers.gamma_s,
        "prefill_s_per_token": numbers.prefill_s,
        "source": sizing.prior.source,
        "requests_per_s_low": sizing.capacity.low,
        "requests_per_s_median": sizing.capacity.median,
        "requests_per_s_planned": sizing.planned_rate,
        "replicas": sizing.replicas,
    }


def _offer(offer: Offered) -> dict[str, Any]:
    machine = offer.machine
    million = offer.usd_per_million
    return {
        "provider": machine.provider if machine else None,
        "type": machine.type if machine else None,
        "region": machine.region if machine else None,
        "gpu": offer.gpu.name,
        "gpus": offer.gpus,
        "sharding": offer.sizing.layout.text,
        "replicas_per_instance": offer.replicas_each,
        "instances_per_replica": offer.instances_each,
        "requests_per_s_planned": offer.sizing.planned_rate,
        "usd_per_hour": machine.usd_per_hour if machine else None,
        "price_as_of": machine.price_as_of.isoformat() if machine and machine.price_as_of else None,
        "usd_per_million_requests": None if math.isinf(million) else million,
        "instances": offer.instances,
        "usd_per_hour_for_rate": offer.usd_per_hour,
    }
