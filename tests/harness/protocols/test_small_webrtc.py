import json

import pytest

from harness.model.errors import RemoteProtocolError
from harness.protocols import small_webrtc as swrtc

pytestmark = pytest.mark.unit

SDP = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=audio 9 UDP/TLS/RTP/SAVPF 96\r\n"


def test_offer_and_answer_survive_the_wire():
    offer = swrtc.Offer(SDP, "pc-1", restart_pc=True, request_data={"call_id": "c1"})
    assert swrtc.parse_offer(swrtc.build_offer(offer)) == offer
    for answer in (swrtc.Answer(SDP, "pc-1"), swrtc.Answer(SDP)):
        assert swrtc.parse_answer(swrtc.build_answer(answer)) == answer
    assert "pc_id" not in json.loads(swrtc.build_answer(swrtc.Answer(SDP)))


def test_a_plain_offer_has_no_pipecat_fields():
    assert swrtc.parse_offer(json.dumps({"sdp": SDP, "type": "offer"})) == swrtc.Offer(SDP)
    snake = {"sdp": SDP, "type": "offer", "request_data": {"a": 1}}
    assert swrtc.parse_offer(json.dumps(snake)).request_data == {"a": 1}
    camel = {"sdp": SDP, "type": "offer", "requestData": {"a": 1}}
    assert swrtc.parse_offer(json.dumps(camel)).request_data == {"a": 1}


def test_request_data_is_spelled_as_pipecats_server_reads_it():
    body = json.loads(swrtc.build_offer(swrtc.Offer(SDP, request_data={"call_id": "c1"})))
    assert body["request_data"] == {"call_id": "c1"}
    # Its from_dict takes no other key beside.
    assert set(body) == {"sdp", "type", "pc_id", "restart_pc", "request_data"}


BAD_OFFERS = [
    ("nonsense", "offer is not JSON"),
    ({}, "offer.sdp is missing"),
    ({"sdp": 5, "type": "offer"}, "offer.sdp must be a string, not 5"),
    ({"sdp": SDP}, "offer.type is missing"),
    ({"sdp": SDP, "type": "answer"}, 'offer.type must be "offer"'),
    ({"sdp": "hello", "type": "offer"}, "must start with v=0"),
    ({"sdp": SDP.replace("m=audio", "m=video"), "type": "offer"}, "offer.sdp has no m=audio section"),
    ({"sdp": SDP, "type": "offer", "pc_id": 3}, "offer.pc_id must be a string, not 3"),
    ({"sdp": SDP, "type": "offer", "restart_pc": 1}, "offer.restart_pc must be true or false, not 1"),
    ({"sdp": SDP, "type": "offer", "requestData": []}, "offer.requestData must be an object, not a list"),
]


@pytest.mark.parametrize(("body", "reason"), BAD_OFFERS, ids=range(len(BAD_OFFERS)))
def test_a_bad_offer_names_its_field(body, reason):
    with pytest.raises(RemoteProtocolError, match=reason):
        swrtc.parse_offer(body if isinstance(body, str) else json.dumps(body))


def test_candidates():
    body = {"pc_id": "p", "candidates": [{"candidate": "", "sdp_mid": "0", "sdp_mline_index": 0}]}
    assert swrtc.parse_candidates(json.dumps(body)) == swrtc.Candidates("p", (swrtc.Candidate("", "0", 0),))
    with pytest.raises(RemoteProtocolError, match=r"body.candidates\[0\].candidate is missing"):
        swrtc.parse_candidates(json.dumps({"pc_id": "p", "candidates": [{}]}))
    with pytest.raises(RemoteProtocolError, match="more than 64"):
        swrtc.parse_candidates(json.dumps({"pc_id": "p", "candidates": [{"candidate": ""}] * 65}))
