"""What a server answered, out of the words of each client."""

import pytest

from m3ray.storage.server_answers import ServerAnswer, parse_server_answer

XML = "<?xml ?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


# The first two are texts of obstore 0.12, the third one of pyarrow 25.
@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        (f"Client error with status 403 Forbidden: {XML} Debug source: x", "AccessDenied", "Access Denied"),
        (f"Server returned non-2xx status code: 403 Forbidden: {XML}", "AccessDenied", "Access Denied"),
        ("When reading: AWS Error ACCESS_DENIED during HeadObject operation: no", "",
         "ACCESS_DENIED during HeadObject operation: no"),
        ("status code: 503 Busy: come back", "", "come back"),
        ("<Error><Code>SlowDown</Code></Error>", "SlowDown", ""),
        ("error sending\n  request", "", "error sending request"),
    ],
)  # fmt: skip
def test_an_answer_is_a_code_and_a_message(text, code, message):
    assert parse_server_answer(OSError(text)) == ServerAnswer(code, message)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (ServerAnswer("AccessDenied", "no"), "AccessDenied: no"),
        (ServerAnswer("AccessDenied", ""), "AccessDenied"),
        (ServerAnswer("", "timed out"), "timed out"),
    ],
)
def test_an_answer_in_words(answer, text):
    assert str(answer) == text
