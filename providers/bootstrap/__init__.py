"""What a machine is told at its first boot: a cloud-init document that starts the serving command and the agent."""

from providers.bootstrap.offers import SECTIONS, SETTINGS, Defaults, offer_faults, port_of, user_data
from providers.bootstrap.render import render
from providers.bootstrap.settings import Agent, Serve, Values
from providers.bootstrap.template import Template, own_template, read_template

__all__ = [
    "SECTIONS",
    "SETTINGS",
    "Agent",
    "Defaults",
    "Serve",
    "Template",
    "Values",
    "offer_faults",
    "own_template",
    "port_of",
    "read_template",
    "render",
    "user_data",
]
