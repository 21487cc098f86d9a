"""New clips to score: the workspace of each data set, and its catalogue."""

import os

import numpy as np

from m3ray.config.options import ExtractOptions, PredictOptions
from m3ray.pipelines.scoring.new_clips import find_workspace, write_new_catalogue
from m3ray.request.checks import Request, check_request
from m3ray.storage.root import Root
from m3ray.storage.root_record import read_record
from m3ray.tiers.user import UserTier


def table(folder, name):
    folder.mkdir()
    (folder / name).write_bytes(b"x")
    (folder / "clips.csv").write_text(f"uri,score\n{name},0.5\n")
    return folder / "clips.csv"


def user_tier(name, *ids):
    return UserTier(name, ids, {name: np.zeros(len(ids), np.float32)}, scaled=True, source=f"/files/{name}.npz")


def test_new_clips_of_each_data_set_have_a_workspace_of_their_own(tmp_path):
    """The same name in two folders is not the same video."""

    def request(source):
        asked = check_request(ExtractOptions(out=str(tmp_path / "x"), dataset="table", root=str(source)))
        return Request(PredictOptions(out=str(tmp_path / "out"), dataset="table", root=str(source)), asked.listing)

    root = Root(str(tmp_path / "out"))
    one, two = (request(table(tmp_path / name, "a.mp4")) for name in ("one", "two"))
    first = find_workspace(root, one)
    assert first.uri == f"{root.uri}/predict"
    write_new_catalogue(first, one)
    second = find_workspace(root, two)
    assert second.uri.startswith(f"{root.uri}/predict-")
    write_new_catalogue(second, two)
    assert [find_workspace(root, asked).uri for asked in (one, two)] == [first.uri, second.uri]
    os.unlink(tmp_path / "out" / "predict" / "dataset.json")  # a workspace from before it kept a record
    assert find_workspace(root, one).uri == first.uri, "no clip of it has moved"
    assert find_workspace(root, two).uri == second.uri


def test_clips_of_user_provided_tiers_are_those_that_all_of_them_have(tmp_path):
    root = Root(str(tmp_path))
    tiers = (user_tier("text", "c", "a", "b", "d"), user_tier("sound", "b", "c", "a"))
    request = Request(PredictOptions(out=root.uri, limit=2), user_tiers=tiers)
    workspace = find_workspace(root, request)
    assert workspace.uri == f"{root.uri}/predict"
    catalogue = write_new_catalogue(workspace, request)
    assert catalogue["clip_id"].to_pylist() == ["a", "b"], "sorted, and no more than the limit"
    assert read_record(workspace).source == "/files/sound.npz,/files/text.npz"
    assert find_workspace(root, request).uri == workspace.uri
    other = Request(request.options, user_tiers=(user_tier("text", "a"),))
    assert find_workspace(root, other).uri != workspace.uri
