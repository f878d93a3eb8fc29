"""The values that cross module borders: what is seen, what is decided, what is done.

Everything here is frozen data with counts derived from it. Instants are Unix seconds, ratios are 0 to 1, money is USD
per hour. The rules that people write are values too; they live in `ruleset.py`.
"""

from autoscaler.types.action import Action, Launch, Operate, Outcome, Plan
from autoscaler.types.decision import (
    Alert,
    AlertState,
    Burst,
    Decision,
    Direction,
    Judged,
    Override,
    Proposal,
    Reason,
    Sense,
    Severity,
    Verdict,
)
from autoscaler.types.fleet import Fleet, Instance, InstanceState, Offer, Purchase
from autoscaler.types.posted import Post, PostKind, Receipt
from autoscaler.types.seen import (
    Bands,
    Batch,
    Capacity,
    FloatArray,
    Frame,
    Labels,
    LeadTime,
    Outlook,
    Past,
    Quality,
    Query,
    Reading,
    SeriesKey,
)
from autoscaler.types.world import Memory, Refusal, Shortage, World

__all__ = [
    "Action",
    "Alert",
    "AlertState",
    "Bands",
    "Batch",
    "Burst",
    "Capacity",
    "Decision",
    "Direction",
    "Fleet",
    "FloatArray",
    "Frame",
    "Instance",
    "InstanceState",
    "Judged",
    "Labels",
    "Launch",
    "LeadTime",
    "Memory",
    "Offer",
    "Operate",
    "Outcome",
    "Outlook",
    "Override",
    "Past",
    "Plan",
    "Post",
    "PostKind",
    "Proposal",
    "Purchase",
    "Quality",
    "Query",
    "Reading",
    "Reason",
    "Receipt",
    "Refusal",
    "Sense",
    "SeriesKey",
    "Severity",
    "Shortage",
    "Verdict",
    "World",
]
