"""Folders of recordings for tests of import: good ones cut from shipped clips, and one of every kind of bad one."""

import os
import wave
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from itertools import count, cycle
from pathlib import Path

import av
import numpy as np

from harness.corpus.audio import read_pcm, resample, write_opus
from harness.corpus.importing.flac import write_flac
from harness.corpus.manifest import load_corpus

RATE = 16000
WORDS = "please send it"


@cache
def voices():
    """Three stretches of speech of under a second, int16 at 16 kHz, with silence around them."""
    clips = load_corpus(verify=False).select(condition=["clean"])
    return tuple(_piece(clip) for clip in clips[:: len(clips) // 3][:3])


def _piece(clip):
    begin = round(clip.speech_start_ms * RATE / 1000)
    spoken = read_pcm(clip, RATE)[begin : begin + RATE * 7 // 10]
    ramp = np.minimum(1, np.arange(len(spoken))[::-1] / 400)
    around = np.zeros(RATE * 3 // 10)
    return np.round(np.concatenate([around, spoken * ramp, around])).astype(np.int16)


def speech(number=0):
    """One of the voices, no two numbers with equal bytes."""
    pcm = voices()[number % 3].copy()
    pcm[: len(pcm) // 8] += (np.random.default_rng(number).integers(-2, 3, len(pcm) // 8)).astype(np.int16)
    return pcm


def noise(seconds, level_dbfs=-26, rate=RATE):
    rng = np.random.default_rng(int(seconds * 1000))
    return (
        np.round(rng.standard_normal(int(seconds * rate)) * 32768 * 10 ** (level_dbfs / 20))
        .clip(-32768, 32767)
        .astype(np.int16)
    )


def write_wav(path, pcm, rate=RATE, channels=1):
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(pcm.astype("<i2").tobytes())


def write_coded(path, pcm, codec, rate=RATE, sample_format="s16", container=None):
    """Write through any of FFmpeg's encoders, in frames of the size that it wants."""
    with av.open(str(path), "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.layout = "mono"
        stream.format = sample_format
        resampler = av.AudioResampler(format=sample_format, layout="mono", rate=rate, frame_size=stream.frame_size or 0)
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            out.mux(stream.encode(piece))
        out.mux(stream.encode(None))


def write_stereo(path, left, right, rate=RATE):
    size = max(len(left), len(right))
    both = np.stack([np.pad(one, (0, size - len(one))) for one in (left, right)], axis=1)
    write_wav(path, both.reshape(-1), rate, channels=2)


@dataclass
class Tree:
    """A folder being filled. `expected` is name -> "imported" or the kind of its refusal; a set where either may be."""

    root: Path
    expected: dict

    def path(self, name, expected, words=WORDS):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.expected[name] = expected
        if words is not None:
            path.with_suffix(".txt").write_text(words)
        return path


def _good(tree, number, pcm):
    stem = f"good/{number:04}"
    kind = number % 12
    if kind < 4:
        write_wav(tree.path(f"{stem}.wav", "imported"), pcm)
    elif kind == 4:
        write_flac(tree.path(f"{stem}.flac", "imported"), pcm, RATE)
    elif kind == 5:
        write_opus(tree.path(f"{stem}.opus", "imported"), resample(pcm, RATE, 48000), 32000)
    elif kind == 6:
        write_coded(tree.path(f"{stem}.mp3", "imported"), pcm, "libmp3lame", sample_format="s16p")
    elif kind == 7:
        write_coded(tree.path(f"{stem}.m4a", "imported"), pcm, "aac", sample_format="fltp", container="ipod")
    elif kind == 8:
        write_wav(tree.path(f"{stem}.WAV", "imported"), resample(pcm, RATE, 8000), 8000)
    elif kind == 9:
        write_wav(tree.path(f"{stem}.wav", "imported"), resample(pcm, RATE, 44100), 44100)
    elif kind == 10:
        write_coded(tree.path(f"{stem}.wav", "imported"), resample(pcm, RATE, 8000), "pcm_mulaw", 8000)
    else:
        write_stereo(tree.path(f"{stem}.wav", "imported"), pcm, pcm)


_NAMES = (
    "with a space",
    "ünïcödé",
    "日本語",
    "-dash",
    "new\nline",
    "tab\there",
    "quote'\"",
    "emoji 🎧",
    "x" * 200,
    "per%cent",
    "a.b.c",
)


def _named(tree, number, pcm):
    name = _NAMES[number % len(_NAMES)]
    write_wav(tree.path(f"names/{number:04} {name}.wav", "imported"), pcm)


def _bytes(tree, name, expected, content):
    tree.path(name, expected).write_bytes(content)


def _half(tree, name, expected, write):
    path = tree.path(name, expected)
    write(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _header(tree, name, expected, pcm, at, value):
    """A WAV with four bytes of its header replaced."""
    path = tree.path(name, expected)
    write_wav(path, pcm)
    content = bytearray(path.read_bytes())
    content[at : at + len(value)] = value
    path.write_bytes(content)


def _bad_bytes(tree, n, pcm):
    random = np.random.default_rng(n).bytes(4000)
    for ending in ("wav", "mp3", "flac", "opus", "m4a"):
        _bytes(
            tree,
            f"random/{ending}{n}.{ending}",
            {"unreadable", "no audio", "no speech", "zero length", "sampling rate too low"},
            random,
        )
    _bytes(tree, f"empty/{n}.wav", "zero length", b"")
    _bytes(tree, f"page/{n}.mp3", "unreadable", b"<!DOCTYPE html><title>404</title>" * 40)
    playlist = b"#EXTM3U\n#EXTINF:5,\nhttp://127.0.0.1:9/clip.wav\n#EXT-X-ENDLIST\n"
    _bytes(tree, f"playlist/{n}.mp3", "unreadable", playlist)
    _bytes(tree, f"raw/{n}.ulaw", "raw samples", random)


def _bad_halves(tree, n, pcm):
    _half(tree, f"half/w{n}.wav", "truncated", lambda path: write_wav(path, pcm))
    _half(tree, f"half/f{n}.flac", {"truncated", "unreadable"}, lambda path: write_flac(path, pcm, RATE))
    wide = resample(pcm, RATE, 48000)
    _half(
        tree, f"half/o{n}.opus", {"imported", "unreadable", "zero length"}, lambda path: write_opus(path, wide, 32000)
    )
    as_mp4 = ("aac", RATE, "fltp", "ipod")
    _half(tree, f"half/m{n}.m4a", "unreadable", lambda path: write_coded(path, pcm, *as_mp4))
    _half(
        tree,
        f"half/p{n}.mp3",
        {"truncated", "imported"},
        lambda path: write_coded(path, pcm, "libmp3lame", RATE, "s16p"),
    )


def _bad_headers(tree, n, pcm):
    _header(tree, f"header/size{n}.wav", "truncated", pcm, 40, (1 << 30).to_bytes(4, "little"))
    _header(tree, f"header/stream{n}.wav", "imported", pcm, 40, b"\xff\xff\xff\xff")
    _header(tree, f"header/rate{n}.wav", "unreadable", pcm, 24, b"\0\0\0\0")
    _header(tree, f"header/channels{n}.wav", "unreadable", pcm, 22, b"\0\0")
    write_wav(tree.path(f"rate/{n}.wav", "sampling rate too low"), resample(pcm, RATE, 8000)[::2], 4000)


def _bad_sounds(tree, n, pcm):
    write_wav(tree.path(f"sound/zero{n}.wav", "silence"), np.zeros(RATE + n, np.int16))
    write_wav(tree.path(f"sound/hush{n}.wav", "silence"), noise(1 + n / 1000, -85))
    write_wav(tree.path(f"sound/noise{n}.wav", "no speech"), noise(1 + n / 1000))
    tone = np.round(8000 * np.sin(2 * np.pi * (440 + n) * np.arange(RATE) / RATE)).astype(np.int16)
    write_wav(tree.path(f"sound/tone{n}.wav", "no speech"), tone)
    loud = (pcm.astype(np.float64) * 32768 / np.abs(pcm).max() * 8).clip(-32768, 32767).astype(np.int16)
    write_wav(tree.path(f"sound/clip{n}.wav", "clipped"), loud)
    write_wav(tree.path(f"sound/none{n}.wav", "zero length"), np.zeros(0, np.int16))


def _bad_words(tree, n, pcm):
    write_wav(tree.path(f"words/none{n}.wav", "transcript missing", words=None), pcm)
    write_wav(tree.path(f"words/space{n}.wav", "transcript missing", words=" \n\t"), pcm)
    write_wav(tree.path(f"words/dots{n}.wav", "transcript missing", words="... !"), pcm)
    path = tree.path(f"words/latin{n}.wav", "transcript cannot be read")
    write_wav(path, pcm)
    path.with_suffix(".txt").write_bytes("café".encode("latin-1"))


def _bad_files(tree, n, pcm):
    tree.path(f"files/folder{n}.wav", "no file", words=None).mkdir()
    loop = tree.path(f"files/loop{n}.wav", "cannot be read")
    loop.symlink_to(loop.name)
    tree.path(f"files/dangling{n}.wav", "file missing").symlink_to("nowhere.wav")
    outside = tree.root.parent / f"outside{n}.wav"
    write_wav(outside, pcm)
    tree.path(f"files/outside{n}.wav", "path outside the source").symlink_to(outside)
    os.mkfifo(tree.path(f"files/pipe{n}.wav", "no file"))
    if os.geteuid() != 0:
        path = tree.path(f"files/locked{n}.wav", "cannot be read")
        write_wav(path, pcm)
        path.chmod(0)


def _bad_twins(tree, n, pcm):
    write_wav(tree.path(f"twins/a{n}.wav", "imported"), pcm)
    write_wav(tree.path(f"twins/b{n}.wav", "the same recording"), pcm)
    write_flac(tree.path(f"twins/c{n}.flac", "imported"), speech(n + 50_000), RATE)
    write_wav(tree.path(f"twins/c{n}.wav", "named twice"), pcm)


def _odd(tree, n, pcm):
    """Not wrong, only unusual; taken."""
    write_coded(tree.path(f"odd/alaw{n}.wav", "imported"), pcm, "pcm_alaw")
    write_coded(tree.path(f"odd/float{n}.wav", "imported"), pcm, "pcm_f32le", sample_format="flt")
    write_coded(tree.path(f"odd/u8{n}.wav", "imported"), pcm, "pcm_u8", sample_format="u8")
    write_stereo(tree.path(f"odd/phase{n}.wav", "imported"), pcm, -pcm)


_BAD = (_bad_bytes, _bad_halves, _bad_headers, _bad_sounds, _bad_words, _bad_files, _bad_twins, _odd)


def mixed_tree(root, size, per_good=1):
    """Fill `root` with at least `size` recordings, a good one for each `per_good` bad; return name -> what is due."""
    tree = Tree(root, {})
    numbers, bad = count(), cycle(_BAD)
    while len(tree.expected) < size:
        before = len(tree.expected)
        next(bad)(tree, next(numbers), speech(next(numbers)))
        for _ in range((len(tree.expected) - before) // per_good):
            make = _named if (number := next(numbers)) % 5 == 0 else _good
            make(tree, number, speech(number))
    (root / "README.md").write_text("not a recording")
    (root / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    return tree.expected
