"""Locust's web UI with three tabs of ours: TTFB, WER and drop-off, live, and the last run's report to download."""

import json
import time
from typing import Any

from flask import Blueprint, Response, jsonify, request

from harness.load.runs import Runs

# Locust's page asks every two seconds; the figures of many turns cost milliseconds.
_CACHE_S = 2.0

_TABS = [
    {"title": "TTFB", "key": "callquake-ttfb"},
    {"title": "WER", "key": "callquake-wer"},
    {"title": "Drop-off", "key": "callquake-drop-off"},
]
_COLUMNS = {
    "callquake-ttfb": {
        "name": "Turns",
        "n": "n",
        "response": "Response ratio",
        "p50": "p50 (ms)",
        "p95": "p95 (ms)",
        "p99": "p99 (ms)",
        "false_endpoints": "False endpoints",
    },
    "callquake-wer": {
        "name": "Turns",
        "words": "Words",
        "wer": "WER",
        "substitutions": "Substitutions",
        "deletions": "Deletions",
        "insertions": "Insertions",
    },
    "callquake-drop-off": {"name": "Cause", "calls": "Calls", "share": "Share", "of": "Of calls"},
}


class _Tables:
    """The live tables, computed at most once every `_CACHE_S`."""

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._made_at = float("-inf")
        self._rows: dict[str, list[dict[str, Any]]] = {}

    def rows(self) -> dict[str, list[dict[str, Any]]]:
        """Return the rows by tab key."""
        if time.monotonic() - self._made_at > _CACHE_S:
            self._rows, self._made_at = self._runs.live.tables(), time.monotonic()
        return self._rows


def extend(runs: Runs) -> None:
    """Add the tabs, their data and the report's link to the web UI."""
    web_ui = runs.environment.web_ui
    tables = _Tables(runs)
    structures = [
        {"key": tab, "structure": [{"key": key, "title": title} for key, title in columns.items()]}
        for tab, columns in _COLUMNS.items()
    ]
    web_ui.template_args |= {
        "extended_tabs": _TABS,
        "extended_tables": structures,
        "extended_csv_files": [{"href": "./callquake/report", "title": "Open the last run's report"}],
    }
    blueprint = Blueprint("callquake", __name__, url_prefix=runs.environment.parsed_options.web_base_path or None)

    @blueprint.route("/callquake/live")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def live() -> Response:
        return jsonify(tables.rows())

    @blueprint.route("/callquake/report")
    @web_ui.auth_required_if_enabled  # type: ignore[untyped-decorator]
    def report() -> Response:
        page = None if runs.last_run_dir is None else runs.last_run_dir / "report.html"
        if page is None or not page.is_file():
            return Response("No run has ended yet, or its report is still being written.\n", 404, mimetype="text/plain")
        return Response(page.read_bytes(), mimetype="text/html")

    @web_ui.app.after_request  # type: ignore[untyped-decorator]
    def add_tables(response: Response) -> Response:
        """Locust's page takes the rows of extended tables from its own statistics answer."""
        if request.endpoint == "locust.request_stats" and response.status_code == 200:
            stats = json.loads(response.get_data())
            stats["extended_stats"] = [{"key": key, "data": rows} for key, rows in tables.rows().items()]
            response.set_data(json.dumps(stats))
        return response

    web_ui.app.register_blueprint(blueprint)
