"""A media file opens nothing but itself, whatever it names and whatever it is named."""

import os
import re
import shutil
import struct
import subprocess
import sys
import tarfile
import zlib
from pathlib import Path

import pytest

from avbench.core.errors import DataError
from avbench.core.job import write_json
from avbench.core.types import InputSpec
from avbench.data.media import container
from avbench.data.media.clip import read_clip
from avbench.data.media.container import LostReason, MediaError
from avbench.data.media.tar_members import read_samples
from avbench.data.media.video import read_frames
from avbench.data.shards.manifest import FORM, MANIFEST, ShardSplit
from tests.data.test_media import every, film

SECRET = "secret.mp4"
WEB = "http://127.0.0.1:9/secret.mp4"

M3U8 = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n{}\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n{}"
MPD = (
    '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT2S" profiles="urn:mpeg:dash:profile:full:2011"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1" codecs="avc1">'
    "<BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>"
)
IDX = "# VobSub index file, v7 (do not modify this line!)\nsize: 64x48\nid: en, index: 0\n{}"


def box(kind: str, *contents: bytes) -> bytes:
    """A box of an MP4 file."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind.encode()) + body


def reference(place: str) -> bytes:
    """A QuickTime file that names another one to be played instead."""
    url = place.encode() + b"\0"
    target = box("rdrf", bytes(4), b"url ", struct.pack(">I", len(url)), url)
    return box("ftyp", b"qt  ", bytes(4), b"qt  ") + box("moov", box("rmra", box("rmda", target)))


def elsewhere(plain: bytes) -> bytes:
    """An MP4 whose samples are said to lie in another file."""
    return plain.replace(b"url \0\0\0\1", b"url \0\0\0\0")


TEXTS: dict[str, str] = {
    "script.mp4": f"ffconcat version 1.0\nfile '{SECRET}'\n",
    "script.mkv": "ffconcat version 1.0\nfile '{folder}/secret.mp4'\nduration 1\n",
    "script.ts": f"ffconcat version 1.0\nfile '{WEB}'\n",
    "script.avi": "ffconcat version 1.0\nfile 'subfile,,start,0,end,0,,:secret.mp4'\n",
    "concat.txt": f"file '{SECRET}'\n",
    "local.m3u8": M3U8.format(f"#EXTINF:2,\n{SECRET}"),
    "local.mp4": M3U8.format(f"#EXTINF:2,\n{SECRET}"),
    "absolute.mkv": M3U8.format("#EXTINF:2,\n{folder}/secret.mp4"),
    "web.mp4": M3U8.format(f"#EXTINF:2,\n{WEB}"),
    "key.mp4": M3U8.format(f'#EXT-X-KEY:METHOD=AES-128,URI="{WEB}"\n#EXTINF:2,\n{SECRET}'),
    "map.mp4": M3U8.format(f'#EXT-X-MAP:URI="{SECRET}"\n#EXTINF:2,\n{SECRET}'),
    "master.mp4": M3U8.format(f"#EXT-X-STREAM-INF:BANDWIDTH=1\n{WEB}"),
    "plain.m3u": f"#EXTM3U\n{SECRET}\n",
    "list.pls": f"[playlist]\nFile1={SECRET}\nNumberOfEntries=1\n",
    "dash.mpd": MPD.format(SECRET),
    "dash.mp4": MPD.format(WEB),
    "session.sdp": SDP.format("m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
    "session.mp4": SDP.format("m=video 9 RTP/AVP 96\na=rtpmap:96 H264/90000\n"),
    "audio.wav": SDP.format("m=audio 9 RTP/AVP 0\n"),
    "vob.avi": IDX.format("timestamp: 00:00:01:000, filepos: 000000000\n"),
    "vob.idx": IDX.format("timestamp: 00:00:01:000, filepos: 000000000\n"),
    "rtsp.mov": "rtsptext rtsp://127.0.0.1:9/secret.mp4\n",
    "redirect.wmv": f"[Reference]\nRef1={WEB}?MSWMExt=.asf\n",
    "list.asx": f'<asx version="3.0"><entry><ref href="{WEB}"/></entry></asx>',
    "list.xspf": f"<playlist><trackList><track><location>{WEB}</location></track></trackList>",
    "list.smil": f'<smil><body><video src="{WEB}"/></body></smil>',
    "frame.avs": f'DirectShowSource("{SECRET}")\n',
    "filter.mp4": f"movie={SECRET}[out0]\n",
    "picture.png": f'<svg xmlns:xlink="x"><image xlink:href="{SECRET}" width="9"/></svg>',
    "chapters.mp4": ";FFMETADATA1\ntitle=x\n",
    "boundary.mp4": "--x\r\nContent-type: image/jpeg\r\nContent-length: 9\r\n\r\n",
    "shots%03d.jpg": "no picture",
    "*.png": "no picture",
    "concat:secret.mp4|secret.mp4": "no media",
    "subfile,,start,0,end,0,,:secret.mp4": "no media",
    "crypto:secret.mp4": "no media",
    "file:secret.mp4": "no media",
    "cache:secret.mp4": "no media",
    "pipe:0": "no media",
}
"""Files that name another file or an address, by their content or by their own name."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """More than thirty hostile files, beside what they name."""
    folder = tmp_path_factory.mktemp("hostile")
    secret = film(folder / SECRET, 5)
    for name in ("shots001.jpg", "vob.sub", "reference.M00"):
        shutil.copy(secret, folder / name)
    made: dict[str, bytes] = {
        n: t.replace("{folder}", str(folder)).encode() for n, t in TEXTS.items()
    }
    made["reference.mov"] = reference(SECRET)
    made["reference.mp4"] = reference(WEB)
    made["elsewhere.mp4"] = elsewhere(secret.read_bytes())
    made["reference.MLV"] = b"MLVI" + struct.pack("<I8s", 52, b"v2.0") + bytes(40)
    for name, content in made.items():
        (folder / name).write_bytes(content)
    return {name: folder / name for name in made}


def test_what_names_another_file_is_no_media(hostile: dict[str, Path]) -> None:
    assert len(hostile) >= 30
    for name, path in hostile.items():
        if name == "elsewhere.mp4":  # its own bytes are read, wherever they are said to lie
            continue
        with pytest.raises(MediaError) as caught:
            read_clip(path, InputSpec(size=16), every)
        assert caught.value.reason in (LostReason.NOT_MEDIA, LostReason.NO_VIDEO), name


def test_the_error_lists_the_containers_that_are_read(hostile: dict[str, Path]) -> None:
    with pytest.raises(MediaError) as caught:
        read_frames(hostile["script.mp4"], start=None, end=None, size=16, pick=every)
    assert caught.value.detail.startswith(
        "not a media file: none of the containers mov, matroska, avi, "
    )


def test_a_second_file_is_refused_whatever_the_container(
    hostile: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(url: str, *arguments: object) -> None:
        asked.append(url)
        refuse(url, *arguments)

    refuse = container.refuse_to_open
    monkeypatch.setattr(container, "refuse_to_open", note)
    wide = {**container.OPTIONS, "format_whitelist": "concat,hls,dash,vobsub,mpeg,mov"}
    monkeypatch.setattr(container, "OPTIONS", wide)
    for name in ("script.mp4", "local.m3u8", "vob.idx"):
        with pytest.raises(MediaError):
            read_frames(hostile[name], start=None, end=None, size=16, pick=every)
    assert [url.rpartition("/")[2] for url in asked] == [SECRET]


CHILD = """
import os, sys
from pathlib import Path
from avbench.data.media import container
from avbench.data.media.audio import read_sound
from avbench.data.media.container import MediaError
from avbench.data.media.headers import read_header
from avbench.data.media.video import read_frames

def read(path):
    read_header(path)
    for task in (
        lambda: read_frames(path, start=None, end=None, size=16, pick=lambda t: [0]),
        lambda: read_sound(path, start=None, end=None, rate=22050),
    ):
        try:
            task()
        except MediaError:
            pass

good, *files = map(Path, sys.argv[1:])
for path in (good, *files[:2]):  # what Python loads on the way
    read(path)
wide = {**container.OPTIONS, "format_whitelist": "concat,hls,dash,sdp,vobsub,mpeg,mov"}
for path in files:
    os.access(f"/begin:{path}", os.F_OK)
    read(path)
    known, container.OPTIONS = container.OPTIONS, wide  # the second bolt holds alone
    read(path)
    container.OPTIONS = known
os.access("/end", os.F_OK)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_other_file_and_no_socket_is_opened(hostile: dict[str, Path], tmp_path: Path) -> None:
    log = tmp_path / "calls"
    good = next(iter(hostile.values())).parent / SECRET
    traced = ["strace", "-f", "-qq", "-s", "4096", "-o", str(log), "-e"]
    calls = "trace=open,openat,openat2,creat,access,faccessat,faccessat2,execve,%network"
    command = [*traced, calls, sys.executable, "-c", CHILD, str(good), *map(str, hostile.values())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "PTRACE" in done.stderr or "not permitted" in done.stderr:
        pytest.skip(f"strace cannot trace here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    current, opened, seen = "", [], set()
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines():
        named = re.search(r'"((?:[^"\\\\]|\\\\.)*)"', line)
        place = named[1] if named else ""
        if place.startswith("/begin:"):
            current = place.removeprefix("/begin:")
            seen.add(current)
        elif place == "/end":
            break
        elif current and place != current and not place.startswith("/sys/devices/system/cpu"):
            opened.append(line)
    assert seen == {os.fspath(path) for path in hostile.values()}
    assert opened == []


def shard(folder: Path, **changes: object) -> Path:
    """A shard of one clip and its sound, whose index says something else."""
    data = film(folder / "a.mp4", 3).read_bytes()
    with tarfile.open(folder / "000000.tar", "w") as tar:
        tar.add(folder / "a.mp4", "0.mp4")
    with tarfile.open(folder / "000000.tar") as tar:
        offset = tar.getmember("0.mp4").offset_data
    sample = {
        "key": "0", "media": "0.mp4", "sound": None, "seconds": 0.3, "recoded": False,
        "members": {"0.mp4": [offset, len(data), zlib.crc32(data)]}, "clips": [],
    }  # fmt: skip
    write_json(folder / "000000.json", {"samples": [{**sample, **changes}]})
    return folder / "000000.tar"


def test_a_sound_index_serves_its_members(tmp_path: Path) -> None:
    path = shard(tmp_path) / "0.mp4"
    assert len(read_clip(path, InputSpec(size=16), every).frames) == 3


@pytest.mark.parametrize("place", ["{folder}/secret.mp4", "../secret.mp4", ".."])
@pytest.mark.parametrize("kind", ["media", "sound", "members"])
def test_an_index_names_members_alone(tmp_path: Path, place: str, kind: str) -> None:
    film(tmp_path / SECRET, 3)
    named = place.format(folder=tmp_path)
    members = {"0.mp4": [0, 1, 0], named: [0, 1, 0]}
    path = shard(tmp_path, **{kind: members if kind == "members" else named})
    with pytest.raises(DataError) as caught:
        read_clip(path / "0.mp4", InputSpec(size=16), every)
    assert str(caught.value).startswith(
        f"{tmp_path}/000000.json: names '{named}', which is no member of its sample; an index "
        "may name members alone, without folders"
    )
    with pytest.raises(DataError, match="which is no member of its sample"):
        read_samples(tmp_path / "000000.json")


@pytest.mark.parametrize("kind", ["media", "sound"])
def test_what_a_sample_names_is_its_own(tmp_path: Path, kind: str) -> None:
    film(tmp_path / SECRET, 3)
    path = shard(tmp_path, **{kind: SECRET})
    with pytest.raises(DataError, match=f"names '{SECRET}', which is no member of its sample"):
        read_clip(path / "0.mp4", InputSpec(size=16), every)


@pytest.mark.parametrize("name", ["/etc/000000.tar", "../../000000.tar", ".."])
def test_a_manifest_names_shards_of_its_folder_alone(tmp_path: Path, name: str) -> None:
    manifest = {
        "form": FORM, "split": "train", "roles": [], "protocol": "coco", "hash": "",
        "files": [[name, 1, "", ""]], "lost_sha256": "",
    }  # fmt: skip
    write_json(tmp_path / MANIFEST, manifest)
    with pytest.raises(DataError, match=f"must be named as a file is, got '{name}'"):
        ShardSplit(tmp_path)
