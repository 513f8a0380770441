import pytest

from harness.model.errors import ScenarioError
from target_stack.__main__ import parser
from target_stack.config import config_from

pytestmark = pytest.mark.unit


def parsed(*arguments, environment=None):
    environment = environment or {}
    return config_from(parser(environment).parse_args(["up", *arguments]), environment).sip


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sip-port", "70000"], "--sip-port 70000: must be 0 to 65535"),
        (["--sips-port", "5061"], "--sips-port needs --sip-cert FILE and --sip-key FILE"),
        (["--sip-trunk-calls", "0"], "--sip-trunk-calls 0: must be 1 to 10000"),
        (["--sip-early-media", "music"], "--sip-early-media music: legal: none, ringback, greeting"),
        (["--sip-digest", "sha"], "--sip-digest sha: legal: md5, sha-256, both"),
        (["--sip-srtp", "on"], "--sip-srtp on: legal: off, optional, required"),
        (["--sip-ring-s", "60"], "--sip-ring-s 60: must be 0 to 10"),
        (["--sip-session-expires", "10"], "--sip-session-expires 10: must be 90 to 86400"),
        (["--rtp-ports", "20000"], "--rtp-ports 20000: legal: LOW:HIGH"),
        (["--rtp-ports", "3000:2000"], "--rtp-ports 3000:2000: legal: LOW:HIGH"),
        (["--sip-users", "/nonexistent/users"], "--sip-users /nonexistent/users: cannot be read"),
    ],
)
def test_a_wrong_option_is_named_with_its_legal_values(arguments, message):
    with pytest.raises(ScenarioError, match=message):
        parsed(*arguments)


def test_sip_is_off_until_it_has_a_port():
    assert not parsed().is_on
    assert parsed("--sip-port", "0").is_on
    assert parsed(environment={"CALLQUAKE_SIP_PORT": "5060"}).port == 5060


def test_users_come_from_a_file_and_are_not_shown(tmp_path):
    users = tmp_path / "users"
    users.write_text("# trunk\nalice:se:cret\n\nbob: x \n")
    options = parsed("--sip-port", "0", "--sip-users", str(users), "--rtp-ports", "20000:20999")
    assert options.users == {"alice": "se:cret", "bob": " x "}
    assert options.rtp_ports == (20_000, 20_999)
    assert "se:cret" not in repr(options)


@pytest.mark.parametrize(
    ("text", "message"), [("alice\n", "line 1: legal: NAME:PASSWORD"), ("# none\n", "no user in it")]
)
def test_a_wrong_file_of_users(text, message, tmp_path):
    users = tmp_path / "users"
    users.write_text(text)
    with pytest.raises(ScenarioError, match=message):
        parsed("--sip-users", str(users))
