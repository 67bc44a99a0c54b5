"""The bodies of the documents' own routes as OpenAPI tells them. Amounts are JSON numbers written with all digits."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class CamelCase(BaseModel):
    """Names as the TypeScript documents write them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class DailyCosts(BaseModel):
    """A day's costs."""

    date: str
    costs_by_service: dict[str, float]
    total: float


class MonthlyCosts(BaseModel):
    """A month's costs."""

    year: int
    month: int
    costs_by_service: dict[str, float]
    total: float


class VideoCosts(BaseModel):
    """One video's costs."""

    video_id: str
    costs_by_service: dict[str, float]
    total: float


class UserCost(BaseModel):
    """What one user used of one service."""

    service: str | None
    operation: str | None
    cost: float
    requests: int
    quantities: dict[str, float]


class UserCosts(BaseModel):
    """One user's day."""

    user_id: str
    date: str
    total_cost: float
    currency: str
    requests: int
    cost_breakdown: list[UserCost]


class CostlyFeature(CamelCase):
    """A feature and its figures."""

    flow_name: str
    total_cost: float
    invocation_count: int
    average_cost: float


class DailyTrend(BaseModel):
    """A day and its figures."""

    date: str
    cost: float
    invocations: int


class CurrentPeriod(CamelCase):
    """The period asked for."""

    start_date: str
    end_date: str
    total_cost: float
    total_invocations: int
    cost_by_category: dict[str, float]
    cost_by_model: dict[str, float]
    top_costly_features: list[CostlyFeature]
    daily_trends: list[DailyTrend]


class Projections(CamelCase):
    """What a month comes to at the period's pace: its daily average for 30 days.

    `month_forecast` is what the present month is expected to have cost at its end, and four times of five between
    `month_forecast_low` and `month_forecast_high`.
    """

    daily_average: float
    monthly_projection: float
    month_to_date: float
    month_forecast: float
    month_forecast_low: float
    month_forecast_high: float


class DashboardData(CamelCase):
    """The figures of a dashboard."""

    current_period: CurrentPeriod
    projections: Projections
    currency: str


class Dashboard(BaseModel):
    """{success, data, error}; on failure a problem is answered instead."""

    success: bool
    data: DashboardData
    error: str | None


class FeatureSummary(CamelCase):
    """A feature's figures."""

    total_cost: float
    invocation_count: int
    average_cost: float
    failed: int
    token_usage: dict[str, int]
    cost_by_model: dict[str, float]


class Features(BaseModel):
    """{success, data, error}, data by feature."""

    success: bool
    data: dict[str, FeatureSummary]
    error: str | None


class ComparedPeriod(CamelCase):
    """One of two periods, of whole days; the end is the last of them."""

    start_date: str
    end_date: str
    days: int
    total_cost: float
    total_invocations: int
    average_daily_cost: float
    monthly_projection: float


class Savings(CamelCase):
    """What is spent less than before: by the day where `per_day` says so. Negative where it is more."""

    absolute_savings: float
    percentage_savings: float | None
    per_day: bool
    monthly_savings: float


class FeatureSavings(CamelCase):
    """A feature before and after, in the unit of the savings."""

    before: float
    after: float
    absolute_savings: float
    percentage_savings: float | None


class ComparisonData(CamelCase):
    """Two periods side by side."""

    before: ComparedPeriod
    after: ComparedPeriod
    savings: Savings
    savings_by_feature: dict[str, FeatureSavings]
    currency: str


class PeriodComparison(BaseModel):
    """{success, data, error}."""

    success: bool
    data: ComparisonData
    error: str | None
