"""a=crypto lines: RFC 4568's own, RFC 7714's suites, and what is wrong with the others."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.model.errors import LocalProtocolError, RemoteProtocolError
from harness.protocols import sdes

pytestmark = pytest.mark.unit

KEY_30 = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz"
KEY_30_BYTES = bytes.fromhex("59535f5f5f73656d63746c202829207b093232303b7d0a7d0a756e6c6573")
KEY_28 = base64.b64encode(bytes(range(28))).decode()

GOOD = {
    # RFC 4568 section 9.1's first line without its MKI.
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^20": (1, sdes.AES_CM_80, KEY_30_BYTES),
    f"2 aes_cm_128_hmac_sha1_32 INLINE:{KEY_30}": (2, sdes.AES_CM_32, KEY_30_BYTES),
    f"0 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|1048576 WSH=64 -X=y": (0, sdes.AES_CM_80, None),
    f"3 AEAD_AES_128_GCM inline:{KEY_28}": (3, sdes.AES_GCM_128, bytes(range(28))),
    f"3 AEAD_AES_128_GCM inline:{KEY_28.rstrip('=')}": (3, sdes.AES_GCM_128, bytes(range(28))),
    f"4 AEAD_AES_256_GCM inline:{base64.b64encode(bytes(44)).decode()}": (4, sdes.AES_GCM_256, bytes(44)),
}
UNUSABLE = {
    # RFC 4568 section 9.1 as printed: an MKI of four bytes in every packet.
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^20|1:4 FEC_ORDER=FEC_SRTP": "an MKI",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|1:4": "an MKI",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^20|1:4;inline:{KEY_30}|2^20|2:4": "several keys",
    f"1 F8_128_HMAC_SHA1_80 inline:{KEY_30}": "suite 'F8_128_HMAC_SHA1_80' is not known here; known: AEAD_AES_128_GCM",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} UNENCRYPTED_SRTP": "'UNENCRYPTED_SRTP' is not supported",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30} KDR=1": "'KDR=1' is not supported",
    "1 AES_CM_128_HMAC_SHA1_80 kms:somewhere": "key method 'kms'; known: inline",
}
WRONG = {
    "": "needs a tag, a suite and key parameters",
    "1 AES_CM_128_HMAC_SHA1_80": "needs a tag",
    f"one AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}": "tag 'one'; legal: 1 to 9 digits",
    f"1 AES_CM_128_HMAC_SHA1_80 {KEY_30}": "must read inline:KEY",
    "1 AES_CM_128_HMAC_SHA1_80 inline:!!!!": "not base64",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_28}": "28 bytes, the suite wants 30 (16 of key, 14 of salt)",
    f"1 AEAD_AES_256_GCM inline:{KEY_28}": "28 bytes, the suite wants 44 (32 of key, 12 of salt)",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|soon": "'soon' behind the key",
    f"1 AES_CM_128_HMAC_SHA1_80 inline:{KEY_30}|2^31|1:129": "MKI length 129; legal: 1 to 128",
}


@pytest.mark.parametrize("line", GOOD)
def test_legal_lines(line):
    tag, suite, material = GOOD[line]
    crypto = sdes.parse(line)
    assert (crypto.tag, crypto.suite) == (tag, suite)
    if material is not None:
        assert crypto.material == material


@pytest.mark.parametrize("line", UNUSABLE)
def test_legal_lines_we_cannot_follow(line):
    with pytest.raises(sdes.UnusableCrypto) as caught:
        sdes.parse(line)
    assert UNUSABLE[line] in str(caught.value)


@pytest.mark.parametrize("line", WRONG)
def test_illegal_lines(line):
    with pytest.raises(RemoteProtocolError) as caught:
        sdes.parse(line)
    assert not isinstance(caught.value, sdes.UnusableCrypto)
    assert WRONG[line] in str(caught.value)


@pytest.mark.parametrize("line", [*UNUSABLE, *WRONG])
def test_no_message_holds_a_key(line):
    with pytest.raises(RemoteProtocolError) as caught:
        sdes.parse(line)
    assert KEY_30[:12] not in str(caught.value)
    assert KEY_28[:12] not in str(caught.value)


def test_no_repr_holds_a_key():
    assert "semctl" not in repr(sdes.parse(next(iter(GOOD))))


@given(st.sampled_from(sdes.SUITES), st.integers(0, 999_999_999), st.data())
def test_what_is_built_is_read_back(suite, tag, data):
    material = data.draw(st.binary(min_size=suite.material_bytes, max_size=suite.material_bytes))
    crypto = sdes.Crypto(tag, suite, material)
    assert sdes.parse(sdes.build(crypto)) == crypto


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(RemoteProtocolError):
        sdes.parse(text)


def test_a_key_of_the_wrong_length_is_our_bug():
    with pytest.raises(LocalProtocolError, match="takes 30 bytes of key and salt, got 16"):
        sdes.Crypto(1, sdes.AES_CM_80, bytes(16))


def lines(*named):
    return [sdes.Crypto(tag, suite, bytes([tag] * suite.material_bytes)) for tag, suite in named]


def test_the_offerers_order_decides():
    offered = lines((1, sdes.AES_CM_32), (2, sdes.AES_GCM_256), (3, sdes.AES_CM_80))
    assert sdes.choose(offered, (sdes.AES_CM_80, sdes.AES_GCM_256)) == offered[1]
    assert sdes.choose(offered, (sdes.AES_GCM_128,)) is None


def test_an_answer_takes_one_offered_line():
    offered = lines((1, sdes.AES_GCM_128), (2, sdes.AES_CM_80))
    answered = [sdes.Crypto(2, sdes.AES_CM_80, b"k" * 30)]
    assert sdes.chosen_by_answer(offered, answered) == (offered[1], answered[0])
    for wrong, expected in (
        (lines((1, sdes.AES_GCM_128), (2, sdes.AES_CM_80)), "2 usable a=crypto lines; legal: exactly 1"),
        ([], "0 usable"),
        (lines((7, sdes.AES_CM_80)), "takes a=crypto:7, which was not offered; offered: 1, 2"),
        (lines((2, sdes.AES_CM_32)), "a=crypto:2 is AES_CM_128_HMAC_SHA1_32; offered under that tag: AES_CM_128_HMAC"),
    ):
        with pytest.raises(RemoteProtocolError) as caught:
            sdes.chosen_by_answer(offered, wrong)
        assert expected in str(caught.value)
