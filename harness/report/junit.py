"""junit.xml as Jenkins and GitLab read it: a test case per threshold and segment, one for generator and data each.

What fails the run is a `failure`: a threshold, a refuted claim of a fault, a fault that was not undone, a leak. NO
DATA and VOID are an `error`: the test could not tell, and CI must not go green on it. A claim that nobody could tell,
which decides nothing, is `skipped`.
"""

from xml.etree import ElementTree as ET

from harness.measure.injections import Injection
from harness.measure.normaliser import identity
from harness.measure.wer import WerResult
from harness.report.analysis import Analysis
from harness.report.audit_words import cases_of
from harness.verdict.chosen import segment_tags
from harness.verdict.evaluate import ThresholdResult
from harness.verdict.thresholds import ThresholdVerdict
from harness.verdict.timeline import FaultTimeline
from harness.verdict.verdict import VerdictKind


def render(analysis: Analysis) -> bytes:
    """Return the XML document, UTF-8."""
    info = analysis.run.info
    suite_name = f"callquake.{info.scenario_name}"
    cases = [
        *(_threshold_case(suite_name, result) for result in analysis.thresholds),
        *(case for one in analysis.run.faults for case in _fault_cases(suite_name, one)),
        *(case for one in analysis.timelines for case in _claim_cases(suite_name, one)),
        *_audit_cases(suite_name, analysis),
        _generator_case(suite_name, analysis),
        _data_case(suite_name, analysis),
    ]
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{info.duration_s or 0:.3f}",
    }
    root = ET.Element("testsuites", {"name": "callquake", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": suite_name, **counts})
    if info.started_at is not None:
        suite.set("timestamp", info.started_at.replace(tzinfo=None, microsecond=0).isoformat())
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(analysis):
        ET.SubElement(properties, "property", {"name": name, "value": _legal(value)})
    suite.extend(cases)
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


def _properties(analysis: Analysis) -> list[tuple[str, str]]:
    info = analysis.run.info
    return [
        ("run_id", info.run_id),
        ("verdict", analysis.verdict.kind.value),
        ("exit_code", str(int(analysis.verdict.exit_code))),
        ("seed", str(info.seed)),
        ("target", str(info.target.get("url", ""))),
        *(("simulated", part) for part in info.simulated),
        *_understanding(analysis.measured.wer),
    ]


def _understanding(result: WerResult) -> list[tuple[str, str]]:
    """Return what was understood, for trends in CI; nothing where it was not measured."""
    if result.overall is None:
        return []
    rates = {"wer": (result.overall.wer, result.overall.ci95)}
    if result.entities is not None:
        rates["entity_accuracy"] = (result.entities.overall.accuracy, result.entities.overall.ci95)
    told = [("normaliser", identity())]
    for name, (value, ends) in rates.items():
        if value is not None:
            told += [(name, f"{value:.6f}"), *([(f"{name}_ci95", f"{ends[0]:.6f} {ends[1]:.6f}")] if ends else [])]
    return told


def _case(suite: str, name: str) -> ET.Element:
    return ET.Element("testcase", {"classname": _legal(suite), "name": _legal(name), "time": "0"})


def _threshold_case(suite: str, result: ThresholdResult) -> ET.Element:
    # CI groups test cases by their class: what is asked of one target stands together.
    target = result.threshold.tags.get("target") or segment_tags(result.segment).get("target")
    case = _case(f"{suite}.{target}" if target else suite, result.title)
    if result.verdict is ThresholdVerdict.FAILED:
        _reason(case, "failure", "threshold", result.detail)
    elif result.verdict is ThresholdVerdict.NO_DATA:
        _reason(case, "error", "no-data", f"NO DATA: {result.detail}")
    return case


def _fault_cases(suite: str, one: Injection) -> list[ET.Element]:
    """Say whether a fault was injected, for an agent that was not broken has withstood nothing, and whether undone."""
    injected, undone = (
        _case(f"{suite}.fault", f"{one.fault.name} ({one.fault.kind}) was {done}") for done in ("injected", "undone")
    )
    if not one.is_injected:
        _reason(injected, "error", "not-injected", f"NO DATA: {one.why_not}")
    if one.not_undone:
        _reason(undone, "failure", "not-undone", one.not_undone)
    return [injected, undone]


def _claim_cases(suite: str, one: FaultTimeline) -> list[ET.Element]:
    """Return a case for each claim that decides: what a fault must leave alone, and how fast things must heal."""
    cases = []
    for claim in one.claims:
        if not claim.decides:
            continue
        case = _case(f"{suite}.fault", f"{one.injection.fault.name}: {claim.words}")
        if claim.is_kept is None:
            ET.SubElement(case, "skipped", {"message": _legal(claim.why)})
        elif not claim.is_kept:
            _reason(case, "failure", "claim", claim.why)
        cases.append(case)
    return cases


def _audit_cases(suite: str, analysis: Analysis) -> list[ET.Element]:
    """Return a case for each process of the leak audit."""
    cases = []
    for process, broken, untold in cases_of(analysis.audit) if analysis.audit is not None else ():
        case = _case(f"{suite}.leak_audit", process)
        if broken:
            _reason(case, "failure", "leak", "\n".join([*broken, *untold]))
        elif untold:
            _reason(case, "error", "no-data", "NO DATA: " + "\n".join(untold))
        cases.append(case)
    return cases


def _generator_case(suite: str, analysis: Analysis) -> ET.Element:
    case = _case(suite, "generator kept time")
    reasons = analysis.measured.health.void_reasons
    if reasons:
        _reason(case, "error", "void", "VOID: " + "\n".join(reasons))
    return case


def _data_case(suite: str, analysis: Analysis) -> ET.Element:
    """Carry what no threshold carries: no calls, no answers, no thresholds, a run that did not end."""
    case = _case(suite, "run is complete")
    verdict = analysis.verdict
    if verdict.kind is VerdictKind.NO_DATA and all(r.verdict is ThresholdVerdict.PASSED for r in analysis.thresholds):
        _reason(case, "error", "no-data", f"NO DATA: {verdict.deciding}")
    elif analysis.run.info.status != "finished":
        _reason(case, "error", "incomplete", f"the run ended as: {analysis.run.info.status.value}")
    return case


def _reason(case: ET.Element, tag: str, kind: str, text: str) -> None:
    element = ET.SubElement(case, tag, {"message": _legal(text.splitlines()[0]), "type": kind})
    element.text = _legal(text)


def _legal(text: str) -> str:
    """Replace the characters that XML 1.0 forbids even when escaped."""
    return "".join(c if c in "\t\n\r" or ord(c) >= 0x20 else "\ufffd" for c in text)
