"""What responses show of what is known besides signals."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

Cell = Annotated[float | None, Field(description="null = no forecast")]


class OutlookView(BaseModel):
    """A forecast: growth factors on the present level, the mean of two minutes, or on `floor` if that is less."""

    signal: str = Field(description="the forecast signal; NAME:mean or NAME:peak is the kind that it did not ask for")
    of: str = Field(description="mean of five minutes at the horizon, or peak until then")
    version: str
    at: float = Field(description="as of which sample")
    age_s: float
    usable: bool = Field(description="young enough to be used")
    horizons_s: list[float]
    quantiles: list[float]
    growth: list[list[Cell]] = Field(description="by quantile, then by horizon")
    floor: float


class CapacityView(BaseModel):
    """What one replica serves at its objective."""

    low: float = Field(description="20th percentile of what is believed; pools are planned with it")
    median: float
    unit: str
    version: str
    drifting: bool = Field(description="it changed a moment ago, so that nothing shrinks")


class LeadTimeView(BaseModel):
    """Seconds from an order to serving."""

    offer: str = Field(description="key of the offer; with /warm at its end: of a machine from the warm pool")
    p50_s: float
    p90_s: float
    version: str
    success_ratio: float | None = Field(description="share of launches that come to serve; null = not known")


class LearnedView(BaseModel):
    """What is known of a pool besides its signals, and what of it is not as it was."""

    pool: str
    outlooks: list[OutlookView]
    capacity: CapacityView | None = Field(description="null = not known; a stated capacity is in the rule file")
    lead_times: list[LeadTimeView]
    moved: dict[str, str]
