"""A folder of files that nobody should feed to a decoder, and of names that nobody should give a file."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import socket
import struct
import threading
import zipfile
import zlib
from pathlib import Path

import av
import numpy as np
import psutil
from drawn import pictures
from image_files import corners, encoded_image, exif, jpeg_says, png, png_chunk, png_rows, unread_images, webp_bomb

from m3ray.video.encode import encode_clip

# What a clip may become: its features, or one of these reasons. None of the files may become anything else.
REASONS = {
    "empty_file", "not_a_video", "unreadable", "no_video_stream", "no_frames", "truncated", "damaged", "too_large",
    "too_long", "timed_out", "out_of_memory", "decoder_crashed", "decoder_error", "missing_file", "not_a_file",
    "unreadable_file", "link_outside", "too_many_bytes", "unsupported_image",
}  # fmt: skip


@contextlib.contextmanager
def canary():
    """A listener that notes who comes."""
    visitors = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    stop = threading.Event()

    def listen():
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                visitors.append(server.accept()[1])

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", visitors
    finally:
        stop.set()
        thread.join()
        server.close()


@contextlib.contextmanager
def watched_children():
    """Largest memory that any decoding child held, MiB."""
    peak, stop = [0.0], threading.Event()

    def watch():
        while not stop.wait(0.05):
            for process in psutil.process_iter(["cmdline", "memory_info"]):
                if "m3ray.video.decode_process" in (process.info["cmdline"] or []):
                    peak[0] = max(peak[0], process.info["memory_info"].rss / 2**20)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def make_corpus(folder: Path, canary: str) -> tuple[int, set[str]]:
    """Writes the files; the number of clips that a listing must find, and those that must get features.

    Args:
        folder: theirs alone; what lies beside it must never be read.
        canary: host:port that notes every connection.
    """
    folder.mkdir()
    secret = folder.parent / "secret.mp4"
    secret.write_bytes(encode_clip(pictures(5), 10))
    good = encode_clip(pictures(10), 10)
    named = _good_names(folder, good)
    images, sound = _images(good, canary)
    named |= sound
    files = {**_texts(canary, secret), **_heads(), **_cuts(good), **_flips(good), **_lies(good), **images}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return len(files) + len(named - sound) + _special(folder, secret), named


def _good_names(folder: Path, good: bytes) -> set[str]:
    """A sound clip under hostile names: every one must get its features."""
    names = [
        "line\nbreak.mp4", "quo\"te'.mp4", "-rf.mp4", "a..mp4", " spaced .mp4", "$(touch pwned).mp4",
        "`id`.mp4", "%41%2e.mp4", "*?[a].mp4", "<script>alert(1)<script>.mp4", "concat:a|b.mp4", "http:evil.mp4",
        "subfile,,start,0,end,9,,:x.mp4", "file:etc.mp4", "café 日本 🎬.mp4", "\u202egnp.mp4", "tab\tbell\a.mp4",
        "s3:bucket.mp4", "x" * 240 + ".mp4", "back\\slash.mp4", "semi;colon&amp.mp4", "null.mp4",
    ]  # fmt: skip
    for name in names:
        (folder / name).write_bytes(good)
    with open(os.fsencode(folder) + b"/not\xff\xfeutf8.mp4", "wb") as file:
        file.write(good)
    return {*names, r"not\xff\xfeutf8.mp4"}


def _images(clip: bytes, canary: str) -> tuple[dict[str, bytes], set[str]]:
    """Images that lie, unpack to gigabytes or are none; and the names of those that must get their features."""
    picture = corners()
    jpeg, rows = encoded_image(picture, "JPEG"), png_rows(picture.reshape(64, -1))
    bomb, wide = zlib.compress(bytes(64 << 20), 9), struct.pack("<II", 40, 100_000) + struct.pack("<I", 100_000)
    sound = {
        "photo.mp4": jpeg,
        "clip.jpg": clip,
        "png.jpg": encoded_image(picture),
        "text-bomb.png": png(96, 64, 8, 2, rows, png_chunk(b"zTXt", b"a\0\0" + bomb)),
        "profile-bomb.png": png(96, 64, 8, 2, rows, png_chunk(b"iCCP", b"a\0\0" + bomb)),
        "zip-behind.jpg": jpeg + b"PK\x03\x04" + bytes(100),
        "turned # 100% [ü].jpg": encoded_image(picture, "JPEG", exif=exif(7)),
        "exif-loop.jpg": encoded_image(picture, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\x08"),
        "wide.png": encoded_image(np.zeros((1, 60_000, 3), np.uint8)),
    }
    bad = {
        "bomb.png": png(100_000, 100_000, 8, 2, b"\0"),
        "bomb.jpg": jpeg_says(jpeg, 65_000, 65_000),
        "bomb.webp": webp_bomb(1 << 14, 1 << 14),
        "bomb.bmp": b"BM" + bytes(12) + wide + b"\1\0\x18\0" + bytes(200),
        "rows-missing.jpg": jpeg_says(jpeg, 9_000, 9_000),
        "cut.jpg": jpeg[: len(jpeg) // 2],
        "cut.png": encoded_image(picture)[:-4],
        "text.jpg": b"a text that is called .jpg\n" * 20,
        "zip.png": b"PK\x03\x04" + bytes(100),
        "empty.webp": b"",
        "asks.png": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://{canary}/x.png"/></svg>'.encode(),
        **{f"{name}.png": data for name, data in unread_images().items()},
    }
    return {**sound, **bad}, set(sound)


def _texts(canary: str, secret: Path) -> dict[str, bytes]:
    """Lists and scripts that make a decoder open other files or addresses, and files of other kinds."""
    address = f"http://{canary}/x.ts"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("a.mp4", b"x")
    return {
        "hls-local.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{secret}\n#EXT-X-ENDLIST\n".encode(),
        "hls-address.mp4": f"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{address}\n#EXT-X-ENDLIST\n".encode(),
        "hls-key.ts": f'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="{address}"\n#EXTINF:2,\n{secret}\n'.encode(),
        "bom-hls.mkv": b"\xef\xbb\xbf#EXTM3U\n" + address.encode(),
        "concat.mp4": f"ffconcat version 1.0\nfile '{secret}'\n".encode(),
        "concat-old.mp4": f"file '{secret}'\nfile '{address}'\n".encode(),
        "dash.mp4": f'<?xml version="1.0"?><MPD><BaseURL>{address}</BaseURL></MPD>'.encode(),
        "sdp.mp4": f"v=0\no=- 0 0 IN IP4 {canary}\nm=video 5004 RTP/AVP 96\n".encode(),
        "smil.mov": f'<smil><body><video src="{address}"/></body></smil>'.encode(),
        "asx.avi": f'<asx><entry><ref href="{address}"/></entry></asx>'.encode(),
        "page.webm": b"<html><body>404</body></html>",
        "empty.mp4": b"",
        "one-byte.mp4": b"\x00",
        "zeros.mp4": bytes(5000),
        "pickle.mp4": pickle.dumps(os.getcwd),
        "zip.mp4": archive.getvalue(),
        "png.mp4": b"\x89PNG\r\n\x1a\n" + bytes(100),
        "jpeg.mp4": b"\xff\xd8\xff\xe0" + bytes(100),
        "wav.avi": b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(50),
        "mp3.mp4": b"ID3\x04" + bytes(100),
        "elf.mp4": b"\x7fELF" + bytes(100),
        "script.mp4": b"#!/bin/sh\ntouch pwned\n",
        "greeting.ts": b"G" * 3,
    }


def _heads() -> dict[str, bytes]:
    """The first bytes of a container, and nonsense after them."""
    noise = np.random.default_rng(0).bytes(20_000)
    return {
        "ftyp-noise.mp4": b"\x00\x00\x00\x20ftypisom" + noise,
        "ftyp-zeros.mp4": b"\x00\x00\x00\x20ftypisom" + bytes(300),
        "huge-box.mp4": b"\x00\x00\x00\x18ftypisom" + bytes(12) + b"\x7f\xff\xff\xffmoov" + noise,
        "box-64.mp4": b"\x00\x00\x00\x01moov" + struct.pack(">Q", 2**63 - 1) + noise,
        "box-zero.mov": b"\x00\x00\x00\x00moov" + noise,
        "nested.mp4": b"".join(struct.pack(">I4s", 8 * (3000 - k), b"moov") for k in range(3000)),
        "ebml.mkv": b"\x1a\x45\xdf\xa3" + noise,
        "ebml-huge.webm": b"\x1a\x45\xdf\xa3\x01" + b"\xff" * 7 + noise,
        "riff.avi": b"RIFF\xff\xff\xff\x7fAVI LIST" + noise,
        "sync.ts": (b"\x47" + noise[:187]) * 40,
        "sync-zero.ts": (b"\x47" + bytes(187)) * 40,
        "pack.mpg": b"\x00\x00\x01\xba" + noise,
        "sequence.mpg": b"\x00\x00\x01\xb3" + noise,
        "gif.gif": b"GIF89a" + noise,
        "gif-huge.gif": b"GIF89a\xff\xff\xff\xff\x80\x00\x00" + noise,
    }


def _cuts(good: bytes) -> dict[str, bytes]:
    transport = encoded(pictures(10), "mpegts", "libx264")
    cuts = {f"cut-{share}.mp4": good[: len(good) * share // 10] for share in (1, 3, 5, 7, 9)}
    return {**cuts, "cut.ts": transport[: len(transport) // 2], "tail.mp4": good[len(good) // 2 :]}


def _flips(good: bytes) -> dict[str, bytes]:
    """Bytes overwritten at random, more of them each time."""
    found = {}
    for seed in range(10):
        rng, data = np.random.default_rng(seed), bytearray(good)
        for position in rng.integers(32, len(data), 2**seed):
            data[position] = rng.integers(256)
        found[f"flip-{seed}.mp4"] = bytes(data)
    return found


def _lies(good: bytes) -> dict[str, bytes]:
    """Sound streams that cost too much, or are not what their headers say."""
    large = encode_clip(np.zeros((2, 8192, 4096, 3), np.uint8), 10)
    return {
        "large.mp4": large,
        "large-says-small.mp4": with_frame_size(large, 64, 64),
        "says-huge.mp4": with_frame_size(good, 65_000, 65_000),
        "says-nothing.mp4": with_frame_size(good, 0, 0),
        "long.mp4": with_frame_ticks(good, 2**31 - 1),
        "no-time.mp4": with_frame_ticks(good, 0),
        "audio.mp4": audio_only(),
        "mov-in-avi.avi": good,
        "vfr.mkv": encoded(pictures(3), "matroska", "libx264", rate=1),
    }


def _special(folder: Path, secret: Path) -> int:
    """What is no plain file. Folders are no clips, and a link to one that leaves the folder is."""
    os.mkfifo(folder / "fifo.mp4")
    (folder / "outside.mp4").symlink_to(secret)
    (folder / "climbs.mp4").symlink_to("../secret.mp4")
    (folder / "endless.mp4").symlink_to("/dev/zero")
    (folder / "dangling.mp4").symlink_to(folder / "nothing.mp4")
    (folder / "loop.mp4").symlink_to(folder / "loop.mp4")
    (folder / "linked-folder.mp4").symlink_to(folder.parent)
    (folder / "folder.mp4").mkdir()
    server = socket.socket(socket.AF_UNIX)
    here = os.getcwd()
    os.chdir(folder)  # the path of a socket is short
    server.bind("socket.mp4")
    os.chdir(here)
    server.close()
    return 8


def encoded(frames: np.ndarray, container: str, codec: str, rate: int = 10) -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "rgb8" if codec == "gif" else "yuv420p"
        for frame in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode())
    return buffer.getvalue()


def audio_only() -> bytes:
    buffer = io.BytesIO()
    with av.open(buffer, mode="w", format="mp4") as file:
        stream = file.add_stream("aac", rate=16_000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        sound.sample_rate = 16_000
        file.mux(stream.encode(sound))
        file.mux(stream.encode())
    return buffer.getvalue()


def with_frame_size(data: bytes, width: int, height: int) -> bytes:
    """What the sample description says, not the stream: bytes 32 to 35 of the avc1 box."""
    at = data.index(b"avc1", data.index(b"stsd")) + 4 + 24
    return data[:at] + struct.pack(">HH", width, height) + data[at + 4 :]


def with_frame_ticks(data: bytes, ticks: int) -> bytes:
    """How long every frame is shown: the one entry of the stts box."""
    at = data.index(b"stts") + 4 + 8 + 4
    return data[:at] + struct.pack(">I", ticks) + data[at + 4 :]
