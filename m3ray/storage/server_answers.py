"""What the server of a storage answered, taken from the text of a client's error."""

from __future__ import annotations

import re
from dataclasses import dataclass

from m3ray.storage.filesystems import one_line

# obstore quotes the XML of S3 and Azure; other clients put words behind the status; pyarrow writes "AWS Error".
_XML = re.compile(r"<Code>(?P<code>.*?)</Code>(?:\s*<Message>(?P<message>.*?)</Message>)?")
_MESSAGE = re.compile(r"<Message>(.+?)</Message>|status code: \d+[A-Za-z ]*:?([^<]*)|AWS Error (.+)")


@dataclass(frozen=True)
class ServerAnswer:
    """A server's answer to a request that it did not carry out.

    Args:
        code: its word for the error, such as `AccessDenied`; "" where the client kept none.
        message: its message, or the client's words where no server answered; one line, maybe "".
    """

    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.code}: {self.message}".strip(": ")


def parse_server_answer(error: BaseException) -> ServerAnswer:
    """Find the server's answer in an error of a storage client.

    Args:
        error: error that pyarrow, obstore or the system raised.
    Returns:
        The answer; it may quote a URI, so that whoever shows it redacts it.
    """
    text = one_line(error)
    xml = _XML.search(text)
    if xml:
        return ServerAnswer(xml["code"], xml["message"] or "")
    words = _MESSAGE.search(text)
    return ServerAnswer("", next(filter(None, words.groups()), "").strip(" :") if words else text)
