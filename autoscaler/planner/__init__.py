"""From a number of replicas to instances: what is launched, started, drained and ended."""

from autoscaler.planner.admission import admit
from autoscaler.planner.draft import action_id
from autoscaler.planner.patience import overdue
from autoscaler.planner.planning import plan

__all__ = ["action_id", "admit", "overdue", "plan"]
