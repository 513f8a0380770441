"""Rules every test module keeps: one category marker, no thread left behind, no setting of ours changed."""

import os
import threading

import pytest
from hypothesis import HealthCheck, settings

CATEGORIES = ("unit", "loopback", "end_to_end", "soak", "peer", "vllm")

# onnxruntime must not look for its telemetry host, in this process or a child.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# What this machine was calibrated to is no matter of the tests; those that ask for it name a file of their own.
os.environ["CALLQUAKE_CALIBRATION"] = "/nonexistent/calibration.json"
# How long an example takes is the machine's matter.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
# The same examples each time, for `make test`: what it finds is of the change, not of the day. New ones are looked for
# by everybody else's runs, and by tests/fuzz/fuzz_run.py.
settings.register_profile("same", settings.get_profile("any machine"), derandomize=True)
settings.load_profile("any machine")


def pytest_addoption(parser):
    parser.addoption("--soak", action="store_true", help="also run tests marked soak (long)")
    parser.addoption("--minutes", type=float, default=30.0, help="length of the soak of calls coming and going")
    parser.addoption("--peers", action="store_true", help="also run tests marked peer (they install the peer first)")
    parser.addoption("--vllm", action="store_true", help="also run tests marked vllm (command in CALLQUAKE_VLLM)")


def pytest_collection_modifyitems(config, items):
    for item in items:
        carried = [name for name in CATEGORIES if item.get_closest_marker(name)]
        if len(carried) != 1:
            raise pytest.UsageError(
                f"{item.nodeid} carries {carried or 'no category marker'}; legal: one of {CATEGORIES}"
            )
        if carried == ["soak"] and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="a long run: ask for it with --soak"))
        if item.get_closest_marker("slow") and not config.getoption("--soak"):
            item.add_marker(pytest.mark.skip(reason="slow, and near to a test that was run: ask for it with --soak"))
        if carried == ["peer"] and not config.getoption("--peers"):
            item.add_marker(pytest.mark.skip(reason="installs a foreign peer: ask for it with --peers"))
        if carried == ["vllm"] and not config.getoption("--vllm"):
            item.add_marker(pytest.mark.skip(reason="needs an environment with vLLM (docs/llm.md): ask with --vllm"))


@pytest.fixture(autouse=True)
def _no_thread_left_behind():
    before = set(threading.enumerate())
    yield
    left = [t for t in set(threading.enumerate()) - before if t.is_alive() and not t.daemon]
    for thread in left:
        thread.join(timeout=5)
    assert not [t for t in left if t.is_alive()], f"the test left threads behind: {left}"


@pytest.fixture(autouse=True)
def _no_setting_changed():
    def settings_of_ours():
        return {name: value for name, value in os.environ.items() if name.startswith("CALLQUAKE_")}

    before = settings_of_ours()
    yield
    assert settings_of_ours() == before, "the test left the environment changed for those after it"
