"""Whether the decoding child can leave the network, and what keeps it from that."""

import pytest

from m3ray.config import DecodeConfig, LimitsConfig
from m3ray.video import isolation
from m3ray.video.isolation import advise_isolation, find_isolation_obstacle
from m3ray.video.sandbox import Decoder


def test_isolation_is_that_of_the_decoding_child(clip_bytes):
    child = Decoder(DecodeConfig(), LimitsConfig())
    list(child.windows(clip_bytes))
    assert (find_isolation_obstacle() == "") == child.isolated
    child.close()


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"sys/user/max_user_namespaces": "0\n"}, "set sysctl user.max_user_namespaces to 10000"),
        ({"sys/user/max_user_namespaces": "9", "sys/kernel/unprivileged_userns_clone": "0"},
         "set sysctl kernel.unprivileged_userns_clone to 1"),
        ({"sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
         "set sysctl kernel.apparmor_restrict_unprivileged_userns to 0"),
        ({"self/status": "Name:\tx\nSeccomp:\t2\n"}, "seccomp filter forbids it"),
        ({}, "the kernel or a security module forbids it"),
    ],
)  # fmt: skip
def test_what_keeps_a_process_in_the_network_is_named(tmp_path, files, words):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert words in advise_isolation(tmp_path)


def test_a_refused_unshare_is_told_with_its_error(monkeypatch):
    monkeypatch.setattr(isolation, "_SCRIPT", "import errno, sys; sys.exit(errno.EPERM)")
    assert find_isolation_obstacle().startswith("EPERM: ")
