"""Adds sales up by region, in decimals: 0.1 + 0.2 is 0.3 here."""

import csv
import io
from collections import defaultdict
from decimal import Decimal


def main(input, context):
    totals = defaultdict(Decimal)
    for number, row in enumerate(csv.DictReader(io.StringIO(input["csv"])), 2):
        if not row["amount"]:
            raise ValueError(f"line {number} has no amount")
        totals[row["region"]] += Decimal(row["amount"])
    rows = [{"region": region, "total": str(total)} for region, total in sorted(totals.items())]
    report = "".join(f"{row['region']}: {row['total']}\n" for row in rows)
    return {"rows": rows, "report": context.file(report, name="report.txt", type="text/plain")}
