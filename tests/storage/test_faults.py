"""The table of errors: complete, free of secrets, and the one in the documentation."""

import ast
from pathlib import Path

import m3ray
from m3ray.storage.faults import BY_CODE, FAULTS, StorageFaultError, as_markdown, describe_fault, is_transient

TOP = Path(m3ray.__file__).parent


def test_every_reason_that_is_raised_stands_in_the_table():
    raised = set()
    for path in TOP.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("DecodeError", "Failure") and node.args:
                raised |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    assert {"damaged", "too_many_bytes"} <= raised, "the search finds them"
    assert raised <= {fault.code for fault in FAULTS if fault.kind == "clip"}


def test_the_table_in_the_docs_is_the_one_in_the_code():
    assert as_markdown() in (TOP.parent / "docs" / "errors.md").read_text()
    assert len(BY_CODE) == len(FAULTS), "no code twice"


def test_words_hold_no_secret():
    words = describe_fault(BY_CODE["AccessDenied"], "s3://KEY:hush@b/x")
    assert words == "403 AccessDenied on s3://***: check the role's policy, and the bucket's"


def test_what_may_pass_is_retried_and_the_rest_is_not():
    assert is_transient(BY_CODE["SlowDown"])
    assert is_transient(BY_CODE["EIO"])
    assert not is_transient(BY_CODE["AccessDenied"])
    assert not is_transient(BY_CODE["InvalidObjectState"])
    assert not is_transient(BY_CODE["damaged"])


def test_a_clip_s_error_of_the_storage_is_a_reject_that_the_next_job_retries():
    error = StorageFaultError(BY_CODE["SlowDown"], "503 SlowDown on s3://b/a.mp4")
    assert (error.reason, error.stage, error.fault.name) == ("storage_failed", "read", "503 SlowDown")
