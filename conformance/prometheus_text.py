"""Checks metrics on stdin as `promtool check metrics` does, and prints them as JSON: `{family: [[labels, value], ...]}`.

Run by the Python of wire-requirements.txt, which has Prometheus' own parser.
"""

import json
import math
import re
import sys
from collections import defaultdict

from prometheus_client.parser import text_string_to_metric_families

NAME = re.compile(r"[a-z][a-z0-9_]*")


def problems_of(family) -> list[str]:
    found = []
    if not family.documentation.strip():
        found.append(f"{family.name}: no help")
    if family.type not in ("counter", "gauge", "histogram"):
        found.append(f"{family.name}: the type is {family.type}")
    if not NAME.fullmatch(family.name):
        found.append(f"{family.name}: no snake_case name")
    if family.type == "gauge" and family.name.endswith("_total"):
        found.append(f"{family.name}: a gauge that is called a total")
    seen = set()
    for sample in family.samples:
        key = (sample.name, tuple(sorted(sample.labels.items())))
        if key in seen:
            found.append(f"{key}: given twice")
        seen.add(key)
        if family.type in ("counter", "histogram") and not sample.value >= 0:
            found.append(f"{key}: {sample.value}")
        if family.type == "counter" and not sample.name.endswith("_total"):
            found.append(f"{sample.name}: a counter that is no total")
    if family.type == "histogram":
        found += histogram_problems(family)
    return found


def histogram_problems(family) -> list[str]:
    series = defaultdict(dict)
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        part = sample.name.removeprefix(family.name)
        one = series[tuple(sorted(labels.items()))]
        if part == "_bucket":
            one.setdefault("buckets", []).append((float(sample.labels["le"]), sample.value))
        else:
            one[part] = sample.value
    found = []
    for labels, one in series.items():
        buckets = one.get("buckets", [])
        bounds, counts = [bound for bound, _ in buckets], [count for _, count in buckets]
        if bounds != sorted(set(bounds)) or counts != sorted(counts):
            found.append(f"{family.name}{labels}: buckets are not cumulative: {buckets}")
        if not bounds or bounds[-1] != math.inf or counts[-1] != one.get("_count") or "_sum" not in one:
            found.append(f"{family.name}{labels}: no bucket +Inf that is the count, or no sum")
    return found


def main() -> None:
    text = sys.stdin.read()
    assert text.endswith("\n"), "the last line is not ended"
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    problems = [problem for family in families for problem in problems_of(family)]
    problems += [f"{name}: two families" for name in set(names) if names.count(name) > 1]
    if problems:
        sys.exit("\n".join(problems))
    samples = defaultdict(list)
    for family in families:
        for sample in family.samples:
            samples[sample.name].append([sample.labels, sample.value])
    json.dump(samples, sys.stdout)


if __name__ == "__main__":
    main()
