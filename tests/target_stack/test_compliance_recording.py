import asyncio
import os
import wave
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from compliance_bench import NOW

from harness.model.errors import LocalProtocolError
from target_stack.compliance.recording import recording as recording_module
from target_stack.compliance.recording.erase import Erased, erase_tree
from target_stack.compliance.recording.folders import CallFolders, new_key
from target_stack.compliance.recording.recording import AGENT_FILE, CALLER_FILE, TRANSCRIPT_FILE, Recording
from target_stack.compliance.recording.tracks import AgentTrack, CallerTrack
from target_stack.compliance.recording.wav import WavFile
from target_stack.frames import SpeechOut

pytestmark = pytest.mark.unit

MS = 1_000_000
BEGAN = 5_000 * MS


def pcm(value, count):
    return np.full(count, value, np.int16)


def read(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16)


def test_a_wav_is_whole_after_every_write_and_silent_where_nothing_came(tmp_path):
    path = tmp_path / "a.wav"
    file = WavFile(path, 16_000)
    assert len(read(path)) == 0
    file.write(100, pcm(7, 50))
    assert read(path).tolist() == [0] * 100 + [7] * 50
    file.write(0, pcm(3, 10))
    assert read(path).tolist() == [3] * 10 + [0] * 90 + [7] * 50
    file.close()
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_callers_packets_follow_each_other_and_a_hole_is_time():
    track = CallerTrack(BEGAN)
    # 20 ms packets, unevenly; the fifth comes 500 ms late.
    arrivals_ms = (20, 45, 60, 95, 600, 620)
    places = [track.place(pcm(1, 320), BEGAN + arrival_ms * MS)[0] for arrival_ms in arrivals_ms]
    assert places == [0, 320, 640, 960, 580 * 16, 600 * 16]


def test_what_the_agent_said_lies_where_it_was_played():
    track = AgentTrack(BEGAN)
    # 40 ms of silence before the first sound: the audible packet is the third.
    lead = np.concatenate((pcm(0, 960), pcm(900, 480)))
    track.queued(SpeechOut(1, "a", lead, False), BEGAN)
    track.queued(SpeechOut(1, "b", pcm(901, 480), True), BEGAN)
    track.started(1, BEGAN + 100 * MS)
    placed = track.drained(1)
    assert [(at, len(samples)) for at, samples in placed] == [(60 * 24, 1440), (60 * 24 + 1440, 480)]
    assert track.drained(1) == []


def test_a_sentence_that_came_late_was_played_late():
    track = AgentTrack(BEGAN)
    track.queued(SpeechOut(1, "a", pcm(900, 480), False), BEGAN)
    track.started(1, BEGAN)
    track.queued(SpeechOut(1, "b", pcm(901, 480), True), BEGAN + 1000 * MS)
    assert [at for at, _ in track.drained(1)] == [0, 24_000]


def test_of_an_interrupted_turn_only_what_was_played_is_kept():
    track = AgentTrack(BEGAN)
    track.queued(SpeechOut(1, "a", pcm(900, 480), False), BEGAN)
    track.queued(SpeechOut(1, "b", pcm(901, 480), True), BEGAN)
    track.started(1, BEGAN)
    placed = track.dropped(0.03)
    assert [len(samples) for _, samples in placed] == [480, 240]
    track.queued(SpeechOut(2, "never begun", pcm(900, 480), True), BEGAN)
    assert track.dropped(0.0) == []
    track.queued(SpeechOut(3, "c", pcm(900, 4800), True), BEGAN)
    track.started(3, BEGAN)
    assert sum(len(samples) for _, samples in track.ended(BEGAN + 50 * MS)) == 1200


def recorded(folders, key, scenario):
    async def main():
        with ThreadPoolExecutor(1) as writer:
            recording = Recording(folders, key, writer)
            await scenario(recording)
            return recording

    return asyncio.run(main())


def test_nothing_is_on_disk_before_it_may_be(tmp_path):
    folders, key = CallFolders(tmp_path), new_key(NOW)

    async def scenario(recording):
        recording.caller_said(pcm(5, 16_000), BEGAN)
        recording.words(1, "caller", "too early")
        recording.agent_queued(SpeechOut(1, "a", pcm(900, 480), True), BEGAN)
        await recording.aclose(BEGAN)
        assert not recording.is_on

    recorded(folders, key, scenario)
    assert list(tmp_path.iterdir()) == []


def test_audio_without_words_and_what_is_left_at_the_end(tmp_path):
    folders, key = CallFolders(tmp_path), new_key(NOW)

    async def scenario(recording):
        folders.make(key)
        recording.keep_audio(BEGAN)
        recording.words(1, "caller", "not kept")
        recording.caller_said(pcm(5, 320), BEGAN + 20 * MS)
        recording.agent_queued(SpeechOut(1, "a", pcm(900, 4800), True), BEGAN)
        recording.agent_started(1, BEGAN)
        await recording.aclose(BEGAN + 100 * MS)
        recording.caller_said(pcm(6, 320), BEGAN + 40 * MS)

    recorded(folders, key, scenario)
    folder = folders.of(key)
    assert {path.name for path in folder.iterdir()} == {CALLER_FILE, AGENT_FILE}
    assert read(folder / CALLER_FILE).tolist() == [5] * 320
    assert len(read(folder / AGENT_FILE)) == 2400


def test_a_disk_that_is_too_slow_loses_audio_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(recording_module, "MOST_WAITING", 3)
    folders, key = CallFolders(tmp_path), new_key(NOW)

    async def scenario(recording):
        folders.make(key)
        recording.keep_audio(BEGAN)
        for second in range(10):
            recording.caller_said(pcm(5, 16_000), BEGAN + (second + 1) * 1000 * MS)
        await recording.aclose(BEGAN)

    # Two are the opening of the files.
    assert recorded(folders, key, scenario).lost_blocks == 9


def test_an_error_of_the_disk_is_kept_for_the_log(tmp_path):
    (tmp_path / "calls").write_text("no folder")

    async def scenario(recording):
        recording.keep_words()
        recording.words(1, "caller", "hello")
        await recording.aclose(BEGAN)

    assert isinstance(recorded(CallFolders(tmp_path), new_key(NOW), scenario).failure, OSError)


def test_a_folder_that_is_not_there_any_more_is_not_made_again(tmp_path):
    folders, key = CallFolders(tmp_path), new_key(NOW)

    async def scenario(recording):
        folders.make(key)
        folders.erase(key)
        recording.keep_audio(BEGAN)
        recording.keep_words()
        recording.words(1, "caller", "hello")
        recording.caller_said(pcm(5, 16_000), BEGAN + 1000 * MS)
        await recording.aclose(BEGAN)

    assert isinstance(recorded(folders, key, scenario).failure, FileNotFoundError)
    assert list((tmp_path / "calls").iterdir()) == []


def test_nothing_is_written_to_files_that_were_removed(tmp_path):
    folders, key = CallFolders(tmp_path), new_key(NOW)

    async def scenario(recording):
        folder = folders.make(key)
        recording.keep_audio(BEGAN)
        recording.keep_words()
        # Done on the writer's thread, in order: the files are open.
        await recording._done(lambda: None)
        with (folder / CALLER_FILE).open("rb") as audio, (folder / TRANSCRIPT_FILE).open("rb") as words:
            folders.erase(key)
            recording.words(1, "caller", "hello")
            recording.caller_said(pcm(5, 16_000), BEGAN + 1000 * MS)
            await recording.aclose(BEGAN)
            assert (audio.read().strip(b"\0"), words.read()) == (b"", b"")

    assert recorded(folders, key, scenario).failure is None


def test_what_comes_into_a_folder_while_it_is_erased_is_erased_too(tmp_path, monkeypatch):
    folder = tmp_path / "call"
    folder.mkdir()
    (folder / "first").write_bytes(b"voice")
    late = ["second", "third"]
    remove = Path.rmdir

    def come_late(path):
        if late:
            (folder / late.pop()).write_bytes(b"words")
        remove(path)

    monkeypatch.setattr(Path, "rmdir", come_late)
    assert erase_tree(folder) == Erased(3, 15)
    assert not folder.exists()


def test_erasing_overwrites_before_it_removes(tmp_path):
    folder = tmp_path / "calls"
    (folder / "inner").mkdir(parents=True)
    secret = b"voice" * 1000
    (folder / "inner" / "a.wav").write_bytes(secret)
    (folder / "b").write_bytes(b"")
    outside = tmp_path / "outside"
    outside.write_bytes(secret)
    (folder / "link").symlink_to(outside)
    # A second name of the same bytes shows what became of them.
    os.link(folder / "inner" / "a.wav", tmp_path / "witness")
    assert erase_tree(folder) == Erased(3, len(secret))
    assert not folder.exists()
    assert (tmp_path / "witness").read_bytes() == bytes(len(secret))
    assert outside.read_bytes() == secret
    assert erase_tree(folder) == Erased()


@pytest.mark.parametrize("key", ["../../etc", "20261123T120000Z-xyz", "", "20261123T120000Z-0123456789abcdef/.."])
def test_only_keys_of_ours_name_folders(tmp_path, key):
    with pytest.raises(LocalProtocolError, match="is no key"):
        CallFolders(tmp_path).erase(key)


def test_the_last_call_of_a_day_takes_the_days_folder(tmp_path):
    folders = CallFolders(tmp_path)
    keys = [new_key(NOW), new_key(NOW)]
    for key in keys:
        folders.make(key)
    assert sorted(folder.name for folder in folders) == sorted(keys)
    folders.erase(keys[0])
    assert [folder.name for folder in folders] == [keys[1]]
    folders.erase(keys[1])
    assert list((tmp_path / "calls").iterdir()) == []
