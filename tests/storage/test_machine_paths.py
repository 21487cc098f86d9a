"""Paths and secrets that are taken out of what is given to others."""

import base64

import pytest

from m3ray.storage.machine_paths import PathCleaner


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error: /home/ada/videos/a.mp4 cannot be read.", "error: a.mp4 cannot be read."),
        ("read from /data/x/clips.csv, then", "read from clips.csv, then"),
        ("see s3://bucket/models/m3s.zip", "see m3s.zip"),
        ("in ~/work/out", "in out"),
        (r"at C:\Users\ada\clip.mp4", "at clip.mp4"),
        ('"file:///srv/data/a.mp4"', '"a.mp4"'),
        ("--root=/srv/data --out=x", "--root=data --out=x"),
        ("https://host/a.csv?token=abc", "https://***"),
        ("<td>/mnt/lab/x.mp4</td>", "<td>x.mp4</td>"),
        ("<td>~/lab/x.mp4</td>", "<td>x.mp4</td>"),
        ("&#39;/mnt/lab/x.mp4&#39; &quot;/mnt/lab/y.mp4&quot;", "&#39;x.mp4&#39; &quot;y.mp4&quot;"),
        ("<code>/mnt/R&amp;D/lab/x.mp4</code>", "<code>x.mp4</code>"),
        ("data: s3://AKIA:SECRETSECRET@bucket/x", "data: s3://***"),
        ("data: /mnt/lab/x", "data: x"),
        ("train data:/mnt/lab/set, then", "train data:set, then"),
        ("data:text/plain,/mnt/lab/x", "data:text/plain,x"),
        ("data:image/png;base64,AAAA /mnt/lab/x", "data:image/png;base64,AAAA x"),
        ("from gs://bucket/lab/x.pth, az://box/lab/y.pth", "from x.pth, y.pth"),
        ("from S3://bucket/lab/x.pth and hdfs://host:9000/lab/y.pth", "from x.pth and y.pth"),
        (r"at \\server\share\lab\x.mp4, then", "at x.mp4, then"),
        (r'"C:\\Users\\ada\\x.mp4" or C:/Users/ada/y.mp4', '"x.mp4" or y.mp4'),
    ],
)
def test_a_path_becomes_the_name_of_its_file(text, expected):
    cleaner = PathCleaner()
    assert cleaner.clean_text(text) == expected
    assert cleaner.clean_text(expected) == expected, "what is clean stays so"


@pytest.mark.parametrize(
    "text",
    [
        "1/2/3 of the clips, and/or km/h/d",
        '<a href="tables/table1.md">Table 1</a><br/><td>0.5</td></tr>',
        "https://host/a/b/c and http://arxiv.org/abs/1234",
        "<svg><path d='M0 0L1 1'/></svg> a / b",
        "videos/a.mp4, ./b.mp4, ../c/d.mp4",
        "sum_i |x_i - y_i| / n",
        r"0.5 & 0.6 \\ \midrule \\\textbf{a} \\[2pt]",
        "file:name, data: 3, metadata:image/png",
    ],
)
def test_what_is_no_path_of_a_machine_stays(text):
    cleaner = PathCleaner()
    assert cleaner.clean_text(text) == text
    assert cleaner.replaced == set()


def test_known_paths_may_hold_any_letter_and_users_are_words():
    cleaner = PathCleaner(["/home/ada/my clips", "/home/ada/my clips & more"], ["ada"])
    assert (
        cleaner.clean_text("/home/ada/my clips & more/a.mp4 by ada, adamant")
        == "my clips & more/a.mp4 by user, adamant"
    )


def test_pictures_in_a_page_and_in_svg_stay_to_the_byte():
    rows = base64.encodebytes(bytes(range(256)) * 20).decode()  # with ends of lines, as matplotlib writes them
    text = f'<image xlink:href="data:image/png;base64,\n{rows}"/> /home/ada/x'
    assert "/" in rows
    assert PathCleaner().clean_text(text) == text.replace("/home/ada/x", "x")


def test_json_values_that_are_paths_may_hold_blanks():
    cleaner = PathCleaner()
    values = {"out": "/data/my root/x", "n": 1.5, "list": ["s3://bucket/key", "plain", None], "line": "a\n/b/c/d"}
    assert cleaner.clean_json(values) == {"out": "x", "n": 1.5, "list": ["key", "plain", None], "line": "a\nd"}
    assert len(cleaner.replaced) == 3


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/home/joe", "user"),
        ("//server/share/x", "x"),
        ("/", "/"),
        ("/home/joe/joe.mp4", "user.mp4"),
        ("gs://bucket/lab/my clip.mp4", "my clip.mp4"),
        (r"\\server\share\my clip.mp4", "my clip.mp4"),
        ("s3://AKIA:SECRET/SECRET@bucket", "***"),
        ({"/mnt/a/x.mp4": 1, "/mnt/b/x.mp4": 2}, {"x.mp4": 1, "x-2.mp4": 2}),
    ],
)
def test_json_values_keep_no_user_no_secret_and_all_their_keys(value, expected):
    assert PathCleaner(users=["joe"]).clean_json(value) == expected


def test_ids_that_are_paths_stay_apart_wherever_they_stand():
    cleaner = PathCleaner(["/mnt", "/home/ada/my clips"], ["joe"])
    cleaner.keep_apart(["/mnt/b/x.mp4", "/mnt/a/x.mp4", "x-2.mp4", "/home/ada/my clips/R&D/x.mp4", "/mnt/joe/c"])
    names = {
        "/home/ada/my clips/R&D/x.mp4": "x.mp4",
        "/mnt/a/x.mp4": "x-3.mp4",  # x-2.mp4 is the id of another clip
        "/mnt/b/x.mp4": "x-4.mp4",
        "/mnt/joe/c": "c",
        "x-2.mp4": "x-2.mp4",
    }
    for path, name in names.items():
        assert cleaner.clean_json([path]) == [name]
        assert cleaner.clean_text(f"see {path}, then") == f"see {name}, then"
    assert cleaner.clean_text("<b>/home/ada/my clips/R&amp;D/x.mp4</b>") == "<b>x.mp4</b>"
    assert cleaner.clean_text("file:///mnt/b/x.mp4") == "x-4.mp4"
    assert cleaner.clean_text("/home/ada/my clips/R&D/x.mp45") == "my clips/R&D/x.mp45", "another file's path"
