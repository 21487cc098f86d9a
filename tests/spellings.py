"""One video under several names: dots, links, linked folders, URIs, relative paths."""

# Each is the same file of a folder that `write_spelled_folder` wrote, which `{top}` stands for.
SPELLINGS = [
    "{top}/v/a b.mp4",
    "{top}/v/./a b.mp4",
    "{top}/v/sub/../a b.mp4",
    "{top}//v///a b.mp4",
    "{top}/w/a b.mp4",
    "{top}/v/link.mp4",
    "{top}/w/link to link.mp4",
    "{top}/v/sub/far/../a b.mp4",
    "file://{top}/v/a%20b.mp4",
    "file:///{top}/v/a%20b.mp4",
    "file:{top}/v/a%20b.mp4",
    "file://localhost{top}/v/a%20b.mp4",
    "v/a b.mp4",
    "./v/sub/../a b.mp4",
]


def write_spelled_folder(top):
    """A video and another one in `v`, links to the first, and linked folders."""
    (top / "v" / "sub").mkdir(parents=True)
    (top / "v" / "a b.mp4").write_bytes(b"one")
    (top / "v" / "other.mp4").write_bytes(b"two")
    (top / "v" / "link.mp4").symlink_to("a b.mp4")
    (top / "v" / "link to link.mp4").symlink_to("link.mp4")
    (top / "w").symlink_to(top / "v")
    (top / "v" / "sub" / "far").symlink_to(top / "v" / "sub")
    return top
