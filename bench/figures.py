"""Figures of a benchmark: collected, shown as a table, printed as JSON lines."""

import json
from dataclasses import dataclass, field


@dataclass
class Figures:
    """Figures of one benchmark."""

    bench: str
    rows: list[dict] = field(default_factory=list)
    failures: list[dict] = field(default_factory=list)

    def add(self, case: str, engine: str, metric: str, value: float, unit: str) -> None:
        row = {"bench": self.bench, "case": case, "engine": engine, "metric": metric, "value": float(f"{value:.6g}"), "unit": unit}
        self.rows.append(row)

    def fail(self, case: str, engine: str, reason: str) -> None:
        """An engine that has no figure, and why."""
        self.failures.append({"bench": self.bench, "case": case, "engine": engine, "failed": reason})

    def show(self, ours: str) -> None:
        """The table, then the lines."""
        self.table(ours)
        print()
        self.lines()

    def table(self, ours: str) -> None:
        """One line an engine, with the ratio of each figure to ours."""
        metrics = list(dict.fromkeys((row["metric"], row["unit"]) for row in self.rows))
        wide = max([18, *(len(row["case"]) for row in self.rows)])
        print(f"{'case':<{wide}} {'engine':<34}" + "".join(f" {f'{m} ({u})':>16} {'x ours':>7}" for m, u in metrics))
        for case in dict.fromkeys(row["case"] for row in self.rows):
            values = {(r["engine"], r["metric"]): r["value"] for r in self.rows if r["case"] == case}
            for engine in dict.fromkeys(engine for engine, _ in values):
                cells = ""
                for metric, _ in metrics:
                    value, base = values.get((engine, metric)), values.get((ours, metric))
                    shown = "" if value is None else f"{value:.4g}"
                    ratio = "" if value is None or not base else f"{value / base:.2f}"
                    cells += f" {shown:>16} {ratio:>7}"
                print(f"{case:<{wide}} {engine:<34}{cells}")
        for row in self.failures:
            print(f"{row['case']:<{wide}} {row['engine']:<34} FAILED")

    def list(self) -> None:
        """One line a figure, where an engine stands alone and each case has figures of its own."""
        for row in self.rows:
            print(f"{row['case']:<18} {row['engine']:<12} {row['metric']:<18} {row['value']:>12.4g} {row['unit']}")

    def lines(self) -> None:
        """JSON, one line a figure."""
        for row in self.rows + self.failures:
            print(json.dumps(row))
