"""The arrows of the layout (docs/design.md): each rule fails with the file and line that breaks it."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

ROOT = Path(__file__).resolve().parents[1]
# Each package of `harness` and what it may import of its neighbours, besides itself and `model`.
MAY_IMPORT = {
    "model": set(),
    "protocols": set(),
    "corpus": {"measure"},
    "media": {"protocols"},
    "signalling": {"protocols"},
    "callers": {"media", "signalling", "protocols"},
    "engine": {"callers", "media", "signalling", "protocols", "corpus", "faults"},
    "calibrate": {"media", "signalling", "protocols", "engine", "corpus", "measure"},
    "probe": {"calibrate", "corpus"},
    "analyze": {"media", "corpus", "measure", "report"},
    "intelligibility": {"analyze", "corpus", "measure"},
    "faults": {"protocols"},
    "toxiproxy": set(),
    "scenario": {"corpus", "verdict", "measure", "faults"},
    "measure": set(),
    "verdict": {"measure"},
    "report": {"verdict", "measure"},
    "load": {"engine", "scenario", "corpus", "report", "verdict", "measure", "calibrate", "faults"},
    "incidents": {"scenario", "corpus", "report", "verdict", "measure"},
    "failures": {"scenario", "report", "verdict", "measure"},
    "commands": {
        "incidents",
        "failures",
        "scenario",
        "corpus",
        "report",
        "verdict",
        "measure",
        "calibrate",
        "probe",
        "analyze",
        "intelligibility",
        "faults",
    },
    "cli": {"commands", "faults"},
    "exit_codes": set(),
}
ANYONE = {"model", "exit_codes"}
# The packages without I/O: no clock, no socket, no event loop.
PURE = ("model", "protocols", "measure", "verdict")
IMPURE_MODULES = {"asyncio", "socket", "threading", "subprocess", "selectors", "time", "urllib", "aiohttp"}
PURE_EXCEPTIONS = {("harness/model/clock.py", "time")}


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the whole name"
            yield node.module or "", node.lineno


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path):
    return path.relative_to(ROOT).as_posix()


def owner_of(path):
    parts = path.relative_to(ROOT / "harness").parts
    return parts[0].removesuffix(".py")


def broken(rule):
    found = [f"{name_of(path)}:{line}: imports {module}" for path, module, line in rule]
    assert not found, "\n".join(found)


def test_arrows_of_harness_run_downward():
    def rule():
        for path in sources("harness"):
            owner = owner_of(path)
            if owner == "__init__":
                continue
            assert owner in MAY_IMPORT, f"{name_of(path)}: a package without a rule; add it to MAY_IMPORT"
            legal = MAY_IMPORT[owner] | ANYONE | {owner}
            for module, line in imports(path):
                if module.startswith("harness.") and module.split(".")[1] not in legal:
                    yield path, module, line

    broken(rule())


def test_load_reaches_the_engine_by_its_wire_only():
    broken(
        (path, module, line)
        for path in sources("harness/load")
        for module, line in imports(path)
        if module.startswith("harness.engine") and module != "harness.engine.wire"
    )


def test_harness_never_imports_the_target():
    broken(
        (path, module, line)
        for path in sources("harness")
        for module, line in imports(path)
        if module.split(".")[0] == "target_stack"
    )


def test_target_imports_only_protocols_signalling_media_and_model_of_harness():
    legal = {"protocols", "signalling", "media", "model"}
    broken(
        (path, module, line)
        for path in sources("target_stack")
        for module, line in imports(path)
        if module.startswith("harness.") and module.split(".")[1] not in legal
    )


def test_locust_and_gevent_live_in_load_only():
    broken(
        (path, module, line)
        for package in ("harness", "target_stack")
        for path in sources(package)
        for module, line in imports(path)
        if module.split(".")[0] in ("locust", "gevent") and owner_or_none(path) != "load"
    )


def owner_or_none(path):
    return owner_of(path) if path.is_relative_to(ROOT / "harness") else None


def test_aiortc_is_reached_from_few_places():
    legal = {"harness/media/peer/seam.py", "target_stack/edge/webrtc.py"}
    broken(
        (path, module, line)
        for package in ("harness", "target_stack")
        for path in sources(package)
        for module, line in imports(path)
        if module.split(".")[0] in ("aiortc", "aioice") and name_of(path) not in legal
    )


def test_pure_packages_have_no_clock_and_no_io():
    broken(
        (path, module, line)
        for package in (*(f"harness/{name}" for name in PURE), "target_stack/context")
        for path in sources(package)
        for module, line in imports(path)
        if module.split(".")[0] in IMPURE_MODULES and (name_of(path), module) not in PURE_EXCEPTIONS
    )


@pytest.mark.parametrize("package", ["harness", "target_stack"])
def test_no_import_circle(package):
    graph = defaultdict(set)
    known = {name_of(p).removesuffix(".py").removesuffix("/__init__").replace("/", "."): p for p in sources(package)}
    for name, path in known.items():
        for module, _line in imports(path):
            target = module
            while target and target not in known:
                target = target.rpartition(".")[0]
            # A package's __init__ is imported before any of its modules; that is no arrow of ours.
            if target and target != name and not name.startswith(target + "."):
                graph[name].add(target)
    done, path_now = set(), []

    def visit(name):
        if name in path_now:
            pytest.fail("import circle: " + " -> ".join([*path_now[path_now.index(name) :], name]))
        if name in done:
            return
        path_now.append(name)
        for target in sorted(graph[name]):
            visit(target)
        path_now.pop()
        done.add(name)

    for name in sorted(known):
        visit(name)


def test_files_stay_small():
    long = {name_of(p): len(p.read_text().splitlines()) for d in ("harness", "target_stack") for p in sources(d)}
    assert {n: c for n, c in long.items() if c > 450} == {}
