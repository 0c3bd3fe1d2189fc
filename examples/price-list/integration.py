"""The same model, written in Python: where definitions repeat themselves, a loop writes the steps.

Three suppliers' price lists are read at the same time; the cheapest supplier of each article is kept.
"""

from __future__ import annotations

from turnout import Integration, action, code, expr, flow, parallel, retry, stop, variable, webhook
from turnout.model.definition import Step

SUPPLIERS = ("north", "south", "west")


def read(supplier: str) -> list[Step]:
    """GET one supplier's list; where that fails for good, the others still count."""
    return [
        action(
            f"fetch_{supplier}",
            "http.request",
            method="GET",
            url=expr(f"join('', [config.suppliers_url, '/{supplier}.json'])"),
            retry=retry(3, delay="200ms"),
            on_error="continue",
        )
    ]


CHEAPEST = """
export default ({ lists }) => {
  const best = {};
  for (const [supplier, list] of Object.entries(lists))
    for (const [article, price] of Object.entries(list ?? {}))
      if (!(best[article]?.price <= price)) best[article] = { supplier, price };
  return best;
};
"""

integration = Integration(
    name="price-list",
    version="1.0.0",
    description="Find the cheapest supplier of each article.",
    config=[variable("suppliers_url", description="Where the suppliers' lists are")],
    flows=[
        flow(
            "compare",
            webhook(),
            timeout="1m",
            steps=[
                parallel("read", {supplier: read(supplier) for supplier in SUPPLIERS}),
                code(
                    "cheapest",
                    CHEAPEST,
                    lists={supplier: expr(f"steps.fetch_{supplier}.json") for supplier in SUPPLIERS},
                ),
                action("keep", "state.set", key="cheapest", value=expr("steps.cheapest")),
                stop("result", output=expr("steps.cheapest")),
            ],
        )
    ],
)
