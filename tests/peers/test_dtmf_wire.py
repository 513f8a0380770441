"""Telephone events and others: what we send as Wireshark reads it, what SIPp's recordings hold as we hear it."""

import asyncio
import itertools
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "harness/media"))

from loop_lab import PlainPeer, running_loop, spec, until

from harness.media.codecs import OPUS, PCMU
from harness.media.events import DigitEnded, DigitHeard, DigitSent
from harness.protocols.dtmf import DIGITS

pytestmark = pytest.mark.peer

SIPP_RECORDINGS = Path("/usr/share/sip-tester")
_PORT = 40_000


def installed(program, package):
    """Return the program's path, installed if need be."""
    if shutil.which(program) is None:
        words = ["apt-get", "install", "-y", "--no-install-recommends", package]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"{program} is not here and apt-get cannot install {package}: {done.stderr[-200:]}")
    return shutil.which(program)


def write_pcap(path, datagrams):
    """Write UDP datagrams to `_PORT` as a capture of raw IPv4 (LINKTYPE_RAW), 20 ms apart."""
    records = [struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65_535, 101)]
    for n, data in enumerate(datagrams):
        udp = struct.pack("!HHHH", _PORT, _PORT, 8 + len(data), 0) + data
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 64, 17, 0, b"\x7f\0\0\1", b"\x7f\0\0\1")
        records.append(struct.pack("<IIII", n // 50, n % 50 * 20_000, len(ip + udp), len(ip + udp)) + ip + udp)
    path.write_bytes(b"".join(records))


def read_by_tshark(tshark, path, payload_type):
    """Return (sequence, timestamp, marker, event, end, volume, duration) of each telephone event."""
    names = ["rtp.seq", "rtp.timestamp", "rtp.marker"]
    names += ["rtpevent.event_id", "rtpevent.end_of_event", "rtpevent.volume", "rtpevent.duration"]
    words = [
        tshark,
        "-r",
        str(path),
        "-d",
        f"udp.port=={_PORT},rtp",
        "-o",
        f"rtpevent.event_payload_type_value:{payload_type}",
    ]
    words += ["-Y", "rtpevent", "-T", "fields", *[word for name in names for word in ("-e", name)]]
    lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    flags = {"True": 1, "False": 0}
    return [[flags[word] if word in flags else int(word) for word in line.split("\t")] for line in lines]


@pytest.mark.parametrize(("codec", "payload_type"), [(PCMU, 101), (OPUS, 110)], ids=["PCMU", "opus"])
def test_wireshark_reads_our_digits(tmp_path, codec, payload_type):
    tshark = installed("tshark", "tshark")

    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                said = {"codec": codec, "payload_type": codec.payload_type, "events_out": payload_type}
                call = loop.add_call(port, spec(peer.address, post=posted, **said))
                call.send_dtmf(DIGITS, duration_ms=70, pause_ms=60)
                await until(lambda: sum(isinstance(event, DigitSent) for event in posted) == len(DIGITS))
                await asyncio.sleep(0.1)
                await call.close()
            return [data for data, _ in peer.read()]

    datagrams = asyncio.run(talk())
    write_pcap(tmp_path / "digits.pcap", datagrams)
    read = read_by_tshark(tshark, tmp_path / "digits.pcap", payload_type)
    step, ms = codec.ticks_per_packet, codec.clock_rate // 1000
    durations = [step, 2 * step, 3 * step, 70 * ms, 70 * ms, 70 * ms]
    assert [row[3:] for row in read] == [
        [code, int(i >= 3), 10, durations[i]] for code in range(len(DIGITS)) for i in range(6)
    ]
    # 120 ms from one digit to the next: four packets of it, two more of its end, one of the pause.
    starts = [row[1] for row in read[::6]]
    assert {row[1] for row in read} == set(starts)
    assert {(b - a) & 0xFFFFFFFF for a, b in itertools.pairwise(starts)} == {7 * step}
    assert [row[2] for row in read] == [1, 0, 0, 0, 0, 0] * len(DIGITS)
    assert all((b[0] - a[0]) & 0xFFFF in (1, 2) for a, b in itertools.pairwise(read))


def recorded(path):
    """Return the UDP payloads of a capture of Ethernet frames."""
    data = path.read_bytes()
    order = "<" if data[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    found, at = [], 24
    while at < len(data):
        length = struct.unpack_from(order + "4I", data, at)[2]
        found.append(data[at + 16 : at + 16 + length][14 + 20 + 8 :])
        at += 16 + length
    return found


@pytest.mark.parametrize("name", [*"0123456789", "star", "pound"])
def test_we_hear_the_digits_of_sipps_recordings(name):
    installed("sipp", "sip-tester")
    path = SIPP_RECORDINGS / f"dtmf_2833_{name}.pcap"
    if not path.exists():
        pytest.skip(f"sip-tester comes without {path}")
    datagrams = recorded(path)
    payload_type = datagrams[0][1] & 0x7F
    digit = {"star": "*", "pound": "#"}.get(name, name)

    async def talk():
        posted = []
        with PlainPeer() as peer:
            async with running_loop() as loop:
                port = loop.open_port("127.0.0.1", lambda *_: None)
                call = loop.add_call(port, spec(peer.address, post=posted, events_in=payload_type))
                for data in datagrams:
                    peer.send(data, port)
                await until(lambda: any(isinstance(event, DigitEnded) for event in posted))
                return posted, await call.close()

    posted, stats = asyncio.run(talk())
    assert [(type(event), event.digit) for event in posted] == [(DigitHeard, digit), (DigitEnded, digit)]
    # SIPp's ends are one packet thrice, under one number.
    assert (stats.packets_received + stats.packets_discarded, stats.packets_lost) == (len(datagrams), 0)
