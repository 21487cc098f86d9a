"""Files that grow: appended on disk, in S3 uploaded whole or by their ends."""

from m3ray.pipelines.runtime import growing_file
from m3ray.pipelines.runtime.growing_file import GrowingFile, keep_ends
from m3ray.storage.root import Root


def test_lines_are_appended_and_mended(tmp_path, monkeypatch):
    file = GrowingFile(Root(str(tmp_path)), "log.txt")
    file.add(["one", "two"])
    file.save()
    before = (tmp_path / "log.txt").stat().st_ino
    with open(tmp_path / "log.txt", "ab") as other:
        other.write(b"thr")  # a write that was cut short
    file.add(["three", "\udcff"])
    file.save()
    assert (tmp_path / "log.txt").read_bytes() == b"one\ntwo\nthree\n\\udcff\n"
    assert (tmp_path / "log.txt").stat().st_ino == before
    (tmp_path / "log.txt").unlink()
    file.add(["five"])
    file.save()
    assert (tmp_path / "log.txt").read_bytes() == b"one\ntwo\nthree\n\\udcff\nfive\n"


def test_a_long_log_is_uploaded_in_part_while_the_job_runs():
    text = b"".join(b"%07d\n" % k for k in range(400_000))  # 3.2 MB
    found = keep_ends(text)
    assert len(found) < growing_file._MOST_BYTES + 100
    lines = found.splitlines()
    assert (lines[0], lines[-1]) == (b"0000000", b"0399999")
    assert sum(b"left out" in line for line in lines) == 1
    assert all(len(line) == 7 for line in lines if b"left out" not in line)
    assert keep_ends(text[:1000]) == text[:1000]


class Bucket:
    """A root in S3, of which every upload is kept."""

    uri = "s3://bucket/root"

    def __init__(self):
        self.uploads = []

    def write_bytes(self, data, *path):
        self.uploads.append((path, data))


def test_in_s3_the_whole_file_is_uploaded_if_there_is_something_new(monkeypatch):
    monkeypatch.setattr(growing_file, "_MOST_BYTES", 40)
    bucket = Bucket()
    file = GrowingFile(bucket, "runs", "log.txt")
    file.save()
    assert bucket.uploads == []
    file.add(["one"])
    file.save(whole=False)
    file.save(whole=False)
    assert bucket.uploads == [(("runs", "log.txt"), b"one\n")]
    file.add([f"line {k}" for k in range(10)])
    file.save(whole=False)
    assert b"line 4" not in bucket.uploads[-1][1]
    assert bucket.uploads[-1][1].endswith(b"line 9\n")
    file.save()
    whole = b"one\n" + b"".join(b"line %d\n" % k for k in range(10))
    assert bucket.uploads[-1][1] == whole, "at the end with its middle, though nothing is new"
    assert len(bucket.uploads) == 3
