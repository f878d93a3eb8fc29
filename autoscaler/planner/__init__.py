"""From a number of replicas to instances: what is launched, started, drained and ended."""

from autoscaler.planner.admission import admit
from autoscaler.planner.draft import action_id
from autoscaler.planner.patience import overdue
from autoscaler.planner.planning import plan
from autoscaler.planner.room import family, of_family
from autoscaler.planner.sickness import sickness

__all__ = ["action_id", "admit", "family", "of_family", "overdue", "plan", "sickness"]
