from urllib import request as urlrequest

import pytest
from faulty_s3 import patch_environment, s3_environment, s3_server

from m3ray.storage.root import Root


@pytest.fixture(scope="module")
def server():
    with s3_server() as endpoint, patch_environment(s3_environment(endpoint)):
        urlrequest.urlopen(urlrequest.Request(f"{endpoint}/locks", method="PUT"))
        yield endpoint


@pytest.fixture(params=["local", "s3"])
def root(request, tmp_path):
    if request.param == "s3":
        request.getfixturevalue("server")
        return Root(f"s3://locks/{tmp_path.parent.name}-{tmp_path.name}")
    return Root(str(tmp_path / "root"))


@pytest.fixture
def local(tmp_path):
    return Root(str(tmp_path / "root"))
