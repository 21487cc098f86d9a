"""Weight files: downloads, hashes, wrappings, and files that are none."""

import hashlib
import http.server
import json
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from recipes import GOLDEN, fill
from safetensors.torch import save_file

from m3ray.errors import WeightsError
from m3ray.tiers.backbones import fetch, ip_csn_152, ir_csn_152, load_weights, sha256_of
from m3ray.tiers.backbones.weights import cache_folder, cache_path

CONTENT = bytes(range(256)) * 5_000
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(scope="module")
def published_state():
    """A published file's content, its classifier included."""
    shapes = json.loads((GOLDEN / "ir_csn_152.keys.json").read_text())
    return fill({key: torch.zeros(shape) for key, shape in shapes.items()})


@pytest.mark.parametrize("wrap", ["plain", "state_dict", "model", "module.", "encoder.", "safetensors"])
def test_published_files_load_in_every_wrapping(tmp_path, wrap, published_state):
    state = published_state
    path = tmp_path / ("w.safetensors" if wrap == "safetensors" else "w.pth")
    if wrap == "safetensors":
        save_file(state, path)
    elif wrap.endswith("."):
        torch.save({wrap + key: value for key, value in state.items()}, path)
    else:
        torch.save(state if wrap == "plain" else {wrap: state, "epoch": 3}, path)
    network = ir_csn_152()
    assert load_weights(network, path, sha256_of(path)) == sha256_of(path)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_weights_that_are_not_copied_are_the_file_s_unless_their_type_is_another(tmp_path):
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    for kind in (torch.float32, torch.float16):
        path = tmp_path / f"{kind}.pt"
        torch.save({key: value.to(kind) for key, value in state.items()}, path)
        layer = torch.nn.Linear(3, 2)
        before = layer.weight.data_ptr()
        load_weights(layer, path, copy=False)
        assert (layer.weight.data_ptr() == before) is (kind is torch.float16)
        assert layer.weight.dtype is torch.float32
        assert all(torch.equal(value, state[key]) for key, value in layer.state_dict().items())


def test_another_network_is_refused_with_the_first_keys(tmp_path):
    torch.save(ip_csn_152().state_dict(), tmp_path / "ip.pth")
    with pytest.raises(WeightsError, match=r"missing: layer1\.0\.conv2\.0\.weight.*unexpected"):
        load_weights(ir_csn_152(), tmp_path / "ip.pth")


def test_another_hash_is_refused(tmp_path):
    torch.save({}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=r"SHA-256 .* expected 0000"):
        load_weights(ir_csn_152(), tmp_path / "w.pth", "0000")


class _Evil:
    def __reduce__(self):
        return (print, ("ran",))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<html><body>404</body></html>", "not a readable"),
        (b"", "not a readable"),
        (b"PK\x03\x04cut", "not a readable"),
    ],
)
def test_damaged_files_are_refused(tmp_path, content, words):
    (tmp_path / "w.pth").write_bytes(content)
    with pytest.raises(WeightsError, match="not a readable weight file"):
        load_weights(ir_csn_152(), tmp_path / "w.pth")


def test_a_pickle_that_would_run_code_is_refused(tmp_path, capsys):
    torch.save({"a": _Evil()}, tmp_path / "evil.pth")
    with pytest.raises(WeightsError, match="could run code"):
        load_weights(ir_csn_152(), tmp_path / "evil.pth")
    assert "ran" not in capsys.readouterr().out


def test_a_missing_file_is_named():
    with pytest.raises(WeightsError, match="no weight file at"):
        load_weights(ir_csn_152(), "nowhere.pth")


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves CONTENT; `/cut/` breaks off the first answer, `/whole/` knows no ranges."""

    def do_GET(self):
        first = self.headers.get("Range")
        start = int(first[6:-1]) if first and "/whole/" not in self.path else 0
        starts = self.server.starts  # type: ignore[attr-defined]
        starts.append(start)
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        end = 700_000 if "/cut/" in self.path and len(starts) == 1 else len(CONTENT)
        self.wfile.write(CONTENT[start:end])

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch, tmp_path):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path / "cache"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.starts = []  # type: ignore[attr-defined]
        server.url = f"http://127.0.0.1:{server.server_port}"  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_file_is_downloaded_once(server):
    path = fetch(f"{server.url}/w.pth", SHA256)
    assert path.read_bytes() == CONTENT
    assert path == cache_path(f"{server.url}/w.pth")
    assert fetch(f"{server.url}/w.pth", SHA256.upper()) == path
    assert server.starts == [0]


def test_a_download_that_was_cut_goes_on_where_it_stopped(server):
    with pytest.raises(WeightsError, match="got 700000 of 1280000 bytes; run again to download the rest"):
        fetch(f"{server.url}/cut/w.pth")
    assert not cache_path(f"{server.url}/cut/w.pth").exists(), "what is cut short has another name"
    assert fetch(f"{server.url}/cut/w.pth", SHA256).read_bytes() == CONTENT
    assert server.starts == [0, 700_000]


def test_a_whole_file_that_was_not_renamed_is_downloaded_anew(server):
    path = cache_path(f"{server.url}/w.pth")
    path.parent.mkdir(parents=True)
    path.with_suffix(".pth.part").write_bytes(CONTENT)
    assert fetch(f"{server.url}/w.pth", SHA256).read_bytes() == CONTENT
    assert server.starts == [len(CONTENT), 0]


def test_a_server_without_ranges_is_asked_for_the_whole_again(server):
    path = cache_path(f"{server.url}/whole/w.pth")
    path.parent.mkdir(parents=True)
    path.with_suffix(".pth.part").write_bytes(b"the beginning of something else")
    assert fetch(f"{server.url}/whole/w.pth", SHA256).read_bytes() == CONTENT


def test_workers_that_need_a_file_at_once_download_it_once(server):
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(fetch, [f"{server.url}/w.pth"] * 4))
    assert set(paths) == {cache_path(f"{server.url}/w.pth")}
    assert server.starts == [0]


def test_the_digits_in_a_file_s_name_are_its_hash(server):
    assert fetch(f"{server.url}/resnet-{SHA256[:8]}.pth").read_bytes() == CONTENT
    with pytest.raises(WeightsError, match=r"SHA-256 .* expected 01234567: it is another file, or was cut short"):
        fetch(f"{server.url}/resnet-01234567.pth")


def test_a_server_that_does_not_answer_is_named_with_what_to_do(server):
    url = f"{server.url}/w.pth"
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=rf"cannot download {url} .*--weights FILE\.json; --weights untrained"):
        fetch(url)


def test_files_on_s3_are_copied_and_replaced_when_their_hash_changes(s3, monkeypatch, tmp_path):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path))
    s3.create_bucket(Bucket="weights")
    for content in (b"first", b"trained again"):
        s3.put_object(Bucket="weights", Key="tuned-scene.safetensors", Body=content)
        path = fetch("s3://weights/tuned-scene.safetensors", hashlib.sha256(content).hexdigest())
        assert path.read_bytes() == content


def test_the_cache_lies_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("M3RAY_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "weights"
    monkeypatch.delenv("M3RAY_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "m3ray" / "weights"


def test_two_addresses_of_one_name_have_two_files():
    first, second = (cache_path(f"https://{host}/weights/epoch_20.pth?x=1") for host in ("a.org", "b.org"))
    assert first != second
    assert first.name.endswith("-epoch_20.pth_x_1")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}])
def test_files_without_a_state_dict_are_rejected(tmp_path, content):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="expected a state_dict"):
        load_weights(ir_csn_152(), tmp_path / "w.pth")
