"""`bellwether quickstart`, twice: what it says, what it leaves behind."""

import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

from conftest import Quickstart


class Resources(HTMLParser):
    """Collects what a browser would fetch to show a page."""

    FETCHED = {"src", "srcset", "data", "poster", "background", "formaction", "xlink:href"}

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attributes):
        for name, value in attributes:
            fetched = name in self.FETCHED or (name == "href" and tag != "a") or (name == "style" and "url(" in (value or ""))
            if fetched and value and not value.startswith(("#", "data:")):
                self.found.append(f"<{tag} {name}={value[:80]}>")


def external_resources(page: str) -> list[str]:
    parser = Resources()
    parser.feed(page)
    return parser.found + re.findall(r"@import[^;]*;|url\(\s*['\"]?(?:https?:)?//[^)]*\)", page)


def report_of(outcome_text: str) -> Path:
    return Path(outcome_text.strip().splitlines()[-1].removeprefix("report: ").strip())


def test_the_first_run_makes_version_1_and_answers(quickstart: Quickstart):
    said = quickstart.first.json
    assert (said["model"], said["version"]) == ("sp500-deciles", 1)
    assert len(said["predictions"]) == 20
    assert [row["rank"] for row in said["predictions"]] == list(range(1, 21))
    for row in said["predictions"]:
        assert 0 <= row["top"] <= 1 and 0 <= row["bottom"] <= 1 and 0 <= row["score"] <= 9
    assert said["as_of"] == "2022-12-28"
    assert said["vector_difference"] == 0, "served by symbol and by the vector of training differ"
    assert said["train"]["left_out"] is not None and len(said["train"]["features"]) == 75


def test_the_second_run_makes_version_2_and_says_so(quickstart: Quickstart):
    assert "version 2" in quickstart.second.stdout
    folder = quickstart.bundle_folder.parent
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2"]


def test_the_same_seed_gives_the_same_model(quickstart: Quickstart):
    files = [json.loads((quickstart.bundle_folder.parent / v / "bundle.json").read_text())["files"] for v in "12"]
    assert files[0] == files[1]


def test_the_last_thing_printed_is_the_report_and_what_to_paste_is_before_it(quickstart: Quickstart):
    text = quickstart.second.stdout
    assert report_of(text).is_file()
    for line in [" serve", "curl ", "python3 "]:
        assert line in text, f"no line with {line!r}"
    assert "duplicate" in text.lower() and "missing" in text.lower(), "no quality summary"


def test_the_report_needs_no_network_and_says_what_the_data_is(quickstart: Quickstart):
    page = Path(quickstart.first.json["report"]).read_text()
    assert external_resources(page) == []
    assert page.count("<svg") >= 4
    for words in ["0.001", "hindsight", "adjusted", "rank IC", "beta", "drawdown", "AAPL"]:
        assert words.lower() in page.lower(), f"the report does not say {words!r}"
    digest = hashlib.sha256((quickstart.bundle_folder / "bundle.json").read_bytes()).hexdigest()
    assert digest in page, "the report does not name its bundle"


def test_the_check_of_the_report_can_fail():
    for page in [
        '<script src="https://cdn.example/plot.js"></script>',
        '<link rel="stylesheet" href="style.css">',
        "<style>@import 'x.css';</style>",
        "<style>body { background: url(//example/x.png) }</style>",
    ]:
        assert external_resources(page), page
    assert external_resources('<a href="https://example.org">x</a><img src="data:image/png;base64,AA==">') == []
