"""An incident report as Markdown and as one HTML page."""

from functools import cache
from importlib.resources import files

import jinja2

from harness.incidents.report import Report

_TITLES = {"short-term": "Short-term fix", "long-term": "Long-term fix", "monitoring": "Monitoring improvement"}


def markdown(report: Report) -> str:
    """Return the report as Markdown."""
    lines = [
        f"# Voice AI Incident Report: {report.title}",
        "",
        f"**Severity**: {report.severity}  ",
        f"**Duration**: {report.duration}  ",
        f"**Impact**: {report.impact}",
        "",
        *(f"- {name}: {value}" for name, value in report.facts),
        "",
        "## Timeline",
        "",
        *(f"- {at} - {what}" for at, what in report.timeline),
        "",
        "## Root Cause",
        "",
        *(f"{text}\n" for text in report.root_cause),
        "## Metrics During Incident",
        "",
        f"| metric | during | after | {report.normal_is} |",
        "| --- | ---: | ---: | ---: |",
        *(f"| {m.title} | {m.during} | {m.after} | {m.normal} |" for m in report.metrics),
        "",
        "## Action Items",
        "",
        *(f"- [{'x' if done else ' '}] {_TITLES[kind]}: {what}" for kind, what, done in report.actions),
        "",
    ]
    if report.notes:
        lines += ["## Notes", "", *(f"- {note}" for note in report.notes), ""]
    return "\n".join(lines)


def html(report: Report) -> str:
    """Return the report as a page that opens offline; every text is escaped."""
    return _template().render(report=report, titles=_TITLES)


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    return environment.from_string(files("harness.incidents").joinpath("incident.html").read_text(encoding="utf-8"))
