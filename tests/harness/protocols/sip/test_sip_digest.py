"""Digest: the RFCs' vectors, which challenge is answered, and when it is not answered again."""

import pytest
from sip_link import Link, S, answering

from harness.model.errors import LocalProtocolError
from harness.protocols.sip import events
from harness.protocols.sip.config import AgentConfig
from harness.protocols.sip.digest import (
    Attempts,
    Challenge,
    DigestClient,
    Verifier,
    challenges_in,
    response_of,
    secret_of,
    strongest,
)
from harness.protocols.sip.headers import parse_auth

pytestmark = pytest.mark.unit

NONCE_7616 = "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v"
CNONCE_7616 = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ"


@pytest.mark.parametrize(
    ("challenge", "username", "password", "uri", "cnonce", "expected"),
    [
        pytest.param(
            Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093", "MD5", ("auth", "auth-int")),
            "Mufasa", "Circle Of Life", "/dir/index.html", "0a4f113b", "6629fae49393a05397450978507c4ef1",
            id="RFC 2617 3.5",
        ),
        pytest.param(
            Challenge("http-auth@example.org", NONCE_7616, "MD5", ("auth", "auth-int")),
            "Mufasa", "Circle of Life", "/dir/index.html", CNONCE_7616, "8ca523f5e9506fed4657c9700eebdbec",
            id="RFC 7616 3.9.1 MD5",
        ),
        pytest.param(
            Challenge("http-auth@example.org", NONCE_7616, "SHA-256", ("auth", "auth-int")),
            "Mufasa", "Circle of Life", "/dir/index.html", CNONCE_7616,
            "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            id="RFC 7616 3.9.1 SHA-256",
        ),
        pytest.param(
            # As the RFC's erratum 4897 corrects it: the printed one is no SHA-512/256.
            Challenge("api@example.org", "5TsQWLVdgBdmrQ0XsxbDODV+57QdFR34I9HAbC/RVvkK", "SHA-512-256", ("auth",)),
            "J\u00e4s\u00f8n Doe", "Secret, or not?", "/doe.json", "NTg6RKcb9boFIAS3KrFK9BGeh+iDa/sm6jUMp2wds69v",
            "3798d4131c277846293534c3edc11bd8a5e4cdcbff78b05db9d95eeb1cec68a5",
            id="RFC 7616 3.9.2",
        ),
    ],
)  # fmt: skip
def test_vectors(challenge, username, password, uri, cnonce, expected):
    secret = secret_of(challenge, username, password, cnonce)
    assert response_of(challenge, secret, "GET", uri, cnonce=cnonce, nc="00000001") == expected


def test_without_qop_it_is_rfc_2069s():
    # RFC 2617 3.2.2.1: KD(H(A1), nonce:H(A2)); this example is RFC 2069's as its erratum corrects it.
    challenge = Challenge("testrealm@host.com", "dcd98b7102dd2f0e8b11d0f600bfb0c093")
    secret = secret_of(challenge, "Mufasa", "CircleOfLife", "")
    assert response_of(challenge, secret, "GET", "/dir/index.html") == "1949323746fe6a43ef61f9606e7febea"


def test_a_challenge_with_quoted_commas_and_several_in_one_field():
    value = 'Digest realm="a, b", nonce="x\\"y", qop="auth,auth-int", algorithm=SHA-256, stale=TRUE'
    value += ', Digest realm="c", nonce="n"'
    first, second = challenges_in([value, 'Bearer realm="no"'])
    assert first == Challenge("a, b", 'x"y', "SHA-256", ("auth", "auth-int"), None, stale=True)
    assert second == Challenge("c", "n")


def test_the_strongest_known_challenge_is_taken():
    known = [
        Challenge("r", "1"),
        Challenge("r", "2", "SHA-256"),
        Challenge("r", "3", "sha-512-256-sess"),
        Challenge("r", "4", "SHA-3"),
    ]
    assert strongest(known).nonce == "3"
    assert strongest(known[:2]).nonce == "2"
    assert strongest(known[3:]) is None
    assert strongest([Challenge("r", "1", qop=("token",))]) is None


def params_of(lines):
    return parse_auth(lines.partition(": ")[2].strip(), "test")[0].params


def client(values, *, attempts=None, proxy=False):
    made = DigestClient("alice", "secret")
    assert made.take(values, attempts or Attempts(), "c0", proxy=proxy) is None
    return made


def test_a_nonce_is_reused_with_rising_nc():
    made = client(['Digest realm="r", nonce="n", qop="auth", opaque="o,p"'])
    first, second = (
        params_of(made.header_lines("INVITE", "sip:b", b"")),
        params_of(made.header_lines("BYE", "sip:b", b"")),
    )
    assert (first["nc"], second["nc"]) == ("00000001", "00000002")
    assert first["opaque"] == "o,p"
    assert first["response"] != second["response"]


def test_a_proxy_is_answered_in_its_own_header():
    lines = client(['Digest realm="r", nonce="n"'], proxy=True).header_lines("INVITE", "sip:b", b"")
    assert lines.startswith("Proxy-Authorization: Digest username=")
    assert "qop" not in lines


def test_the_same_nonce_is_never_answered_twice():
    attempts, values = Attempts(), ['Digest realm="r", nonce="n", qop="auth"']
    made = client(values, attempts=attempts)
    made.header_lines("INVITE", "sip:b", b"", attempts)
    assert made.take(values, attempts, "c1", proxy=False) == "user 'alice' or its password was refused by realm 'r'"
    assert made.header_lines("INVITE", "sip:b", b"") == ""


def test_a_proxy_may_share_realm_and_nonce_with_its_registrar():
    """kamailio makes nonces of the time alone: 401 and 407 within one second are answered by the same one."""
    registered, values = Attempts(), ['Digest realm="r", nonce="n", qop="auth"']
    made = client(values, attempts=registered)
    invited = Attempts()
    assert made.header_lines("INVITE", "sip:b", b"", invited).startswith("Authorization: ")
    assert made.take(values, invited, "c1", proxy=True) is None
    names = [line.partition(":")[0] for line in made.header_lines("INVITE", "sip:b", b"", invited).splitlines()]
    assert names == ["Authorization", "Proxy-Authorization"]
    # And each refuses for itself.
    assert "refused" in made.take(values, invited, "c2", proxy=True)


def test_a_new_nonce_without_stale_means_the_password_is_wrong():
    attempts = Attempts()
    made = client(['Digest realm="r", nonce="n"'], attempts=attempts)
    assert "refused" in made.take(['Digest realm="r", nonce="m"'], attempts, "c", proxy=False)


def test_a_stale_nonce_is_replaced_but_not_for_ever():
    attempts = Attempts()
    made = client(['Digest realm="r", nonce="n0"'], attempts=attempts)
    answers = [
        made.take([f'Digest realm="r", nonce="n{n}", stale=true'], attempts, "c", proxy=False) for n in range(1, 9)
    ]
    assert answers[:3] == [None] * 3
    assert "stale" in answers[-1]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "Basic realm=x",
        'Digest nonce="n"',
        'Digest realm="r',
        "Digest realm",
        'Digest realm="r", nonce="n", algorithm=X',
    ],
)
def test_what_cannot_be_answered_is_said(value):
    assert DigestClient("a", "p").take([value], Attempts(), "c", proxy=False)


@pytest.mark.parametrize("qop", ["auth", "auth-int"])
@pytest.mark.parametrize("algorithm", ["MD5", "MD5-sess", "SHA-256", "SHA-256-sess", "SHA-512-256", "SHA-512-256-sess"])
def test_a_verifier_accepts_its_clients_and_nobody_else(algorithm, qop):
    verifier = Verifier("r", {"alice": "secret"}, secret=b"k", algorithms=[algorithm], qop=qop)
    body = b"v=0"

    def answer_of(password):
        made = DigestClient("alice", password)
        assert made.take(verifier.challenges(0), Attempts(), "c0", proxy=False) is None
        return made

    def judge(made, body, now_ns=S):
        value = made.header_lines("INVITE", "sip:b", b"v=0").partition(": ")[2].strip()
        return verifier.check("INVITE", [value], body, now_ns)

    assert not judge(answer_of("wrong"), body).accepted
    made = answer_of("secret")
    assert judge(made, body).username == "alice"
    assert judge(made, body).accepted
    assert judge(made, b"other").accepted == (qop == "auth")
    assert judge(made, body, 400 * S).stale


def test_a_replayed_answer_is_stale_and_a_forged_nonce_is_refused():
    verifier = Verifier("r", {"alice": "secret"}, secret=b"k")
    made = client(verifier.challenges(0))
    value = made.header_lines("INVITE", "sip:b", b"").partition(": ")[2].strip()
    assert verifier.check("INVITE", [value], b"", S).accepted
    replay = verifier.check("INVITE", [value], b"", S)
    assert (replay.accepted, replay.stale) == (False, True)
    forged = client(['Digest realm="r", nonce="1.0", qop="auth"']).header_lines("INVITE", "sip:b", b"")
    assert not verifier.check("INVITE", [forged.partition(": ")[2]], b"", S).accepted
    for rubbish in ("Digest", "Digest realm=r", "Basic x", 'Digest realm="r", nonce="zz", username="alice"', ""):
        assert not verifier.check("INVITE", [rubbish], b"", S).accepted


def test_used_nonces_are_forgotten_with_their_time():
    verifier = Verifier("r", {"alice": "secret"}, secret=b"k", nonce_ttl_s=10)
    for second in range(50):
        made = client(verifier.challenges(second * S))
        value = made.header_lines("INVITE", "sip:b", b"").partition(": ")[2].strip()
        assert verifier.check("INVITE", [value], b"", second * S).accepted
    assert len(verifier._last_nc) <= 12


def test_an_unknown_algorithm_is_a_bug_of_ours():
    with pytest.raises(LocalProtocolError, match="known here are MD5, SHA-256, SHA-512-256"):
        Verifier("r", {}, secret=b"k", algorithms=["SHA-3"])


def challenged(password="secret", **options):
    config = AgentConfig(verifier=Verifier("r", {"alice": "secret"}, secret=b"k", **options))
    link = Link(b=config)
    answering(link)
    return link, DigestClient("alice", password)


def test_a_call_with_a_wrong_password_is_tried_once_and_says_so():
    link, wrong = challenged("wrong")
    link.invite(auth=wrong)
    link.run(100)
    assert link.lines() == ["a INVITE", "b 401 INVITE", "a ACK", "a INVITE", "b 401 INVITE", "a ACK"]
    failed = link.a.last()
    assert (failed.status, failed.cause, failed.reason) == (
        401,
        "auth",
        "user 'alice' or its password was refused by realm 'r'",
    )
    link.assert_nothing_left()


def test_a_call_without_credentials_fails_with_the_challenge():
    link, _ = challenged()
    link.invite()
    link.run(100)
    assert (link.a.last().status, link.a.last().cause) == (401, "response")


def test_calls_that_share_credentials_are_challenged_once():
    link, auth = challenged()
    for _ in range(3):
        link.invite(auth=auth)
        link.run(1)
        link.a.call.hang_up(link.now)
        link.run(1)
    assert link.lines().count("b 401 INVITE") == 1
    assert len(link.a.told(events.Answered)) == 3


def test_a_stale_nonce_of_an_earlier_call_is_replaced():
    link, auth = challenged(nonce_ttl_s=5)
    for _ in range(2):
        link.invite(auth=auth)
        link.run(1)
        link.a.call.hang_up(link.now)
        link.run(60)
    assert link.lines().count("b 401 INVITE") == 2
    assert len(link.a.told(events.Answered)) == 2
    assert "stale=true" in [m for _, s, m in link.sent if s == "b" and m.get("www-authenticate")][-1].get(
        "www-authenticate"
    )


def test_the_ack_repeats_the_invites_credentials():
    link, auth = challenged()
    link.invite(auth=auth)
    link.run(1)
    invite = [m for _, s, m in link.sent if s == "a" and m.method == "INVITE"][-1]
    ack = [m for _, s, m in link.sent if s == "a" and m.method == "ACK"][-1]
    assert ack.get("authorization") == invite.get("authorization") is not None


def test_passwords_are_not_in_a_repr():
    assert "secret" not in repr(DigestClient("alice", "secret"))
