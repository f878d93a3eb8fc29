"""`sigmascale`: the entry point. A person's mistake is a message and exit code 2, never a traceback."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from autoscaler import __version__
from autoscaler.cli.adopt import adopt, release
from autoscaler.cli.agent import agent
from autoscaler.cli.backtest import backtest
from autoscaler.cli.bootstrap import bootstrap
from autoscaler.cli.check import check
from autoscaler.cli.compare import compare
from autoscaler.cli.config import config
from autoscaler.cli.cordon import cordon, uncordon
from autoscaler.cli.demo import demo
from autoscaler.cli.detect import detect
from autoscaler.cli.explain import explain
from autoscaler.cli.forecast import forecast
from autoscaler.cli.import_ import import_
from autoscaler.cli.offers import offers
from autoscaler.cli.override import override
from autoscaler.cli.page import page
from autoscaler.cli.replace import replace
from autoscaler.cli.roll import roll
from autoscaler.cli.rollback import rollback
from autoscaler.cli.run import run
from autoscaler.cli.signals import signals
from autoscaler.cli.silence import silence
from autoscaler.cli.simulate import simulate
from autoscaler.cli.size import size
from autoscaler.cli.test import run_rule_tests
from autoscaler.cli.top import top
from autoscaler.cli.topology import topology
from autoscaler.errors import InputError, SigmascaleError

HELP = """
Scale GPU inference fleets: measured, ahead of the peak, and explained.

First steps:

  sigmascale demo                      watch the whole loop on this machine

  sigmascale check rules/              is what I wrote right?

  sigmascale simulate rules/chat.yaml  what would my rules do?

  sigmascale run -r rules/ --shadow    decide on real metrics, touch nothing

  sigmascale explain                   why has every pool its size?

Exit codes: 0 done, 1 it failed, 2 what was asked is wrong.
"""

app = typer.Typer(
    name="sigmascale",
    help=HELP,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Help through Rich takes 0.6 s to import what draws its boxes; without it help is there in 0.2 s.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"sigmascale {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which version this is.")
    ] = False,
) -> None:
    """Options that come before a command."""


root.__doc__ = HELP
app.command("run", short_help="Watch the fleet, decide, and act.")(run)
app.command("check", short_help="Are my rules right, and wise?")(check)
app.add_typer(config, name="config", short_help="Is the service's configuration right?")
app.command("test", short_help="Do my rules decide what I expect?")(run_rule_tests)
app.command("top", short_help="What is every pool doing right now?")(top)
app.command("explain", short_help="Why has a pool the size that it has?")(explain)
app.command("signals", short_help="What do my rules read, and what is there?")(signals)
app.command("page", short_help="What is made of one metrics page?")(page)
app.command("offers", short_help="What could my pools buy, and what stands in the way?")(offers)
app.add_typer(override, name="override", short_help="Pin, bound, freeze or pause a pool.")
app.add_typer(silence, name="silence", short_help="Mute alerts for a while.")
app.command("cordon", short_help="Take an instance out of service for a while.")(cordon)
app.command("uncordon", short_help="Put a cordoned instance back into service.")(uncordon)
app.command("replace", short_help="Order another instance in the place of one.")(replace)
app.command("roll", short_help="Bring a new image or template into a pool.")(roll)
app.command("rollback", short_help="Return a pool to the size before a bad decision.")(rollback)
app.command("adopt", short_help="Which machines could join my pools?")(adopt)
app.command("release", short_help="Let a pool without rules go.")(release)
app.command("agent", short_help="Serve what a GPU node says about itself.")(agent)
app.command("topology", short_help="How are a machine's GPUs connected?")(topology)
app.command("simulate", short_help="What would my rules do to a fleet?")(simulate)
app.command("size", short_help="What does a replica need and serve?")(size)
app.command("forecast", short_help="How well could this workload be foreseen?")(forecast)
app.command("backtest", short_help="What would my rules have done with a recorded workload?")(backtest)
app.command("detect", short_help="Where is this series out of its ordinary?")(detect)
app.command("compare", short_help="Which of two rule files does better?")(compare)
app.command("import", short_help="What do my KEDA and HPA manifests mean here?")(import_)
app.command("bootstrap", short_help="What would a machine be told at its first boot?")(bootstrap)
app.command("demo", short_help="See all of it on this machine.")(demo)


def main() -> None:
    """Run the command that the arguments name."""
    try:
        app(prog_name="sigmascale")
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    except SigmascaleError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
