import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.unit

CODE = "from target_stack.priority import yield_to_other_sessions as f; print(f(), open('/proc/self/autogroup').read())"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel has no autogroups")
@pytest.mark.parametrize(("leads_its_session", "expected"), [(True, "True"), (False, "False")])
def test_only_a_session_of_its_own_is_lowered(leads_its_session, expected):
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        start_new_session=leads_its_session,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(expected)
    assert ("nice 10" in done.stdout) == leads_its_session
