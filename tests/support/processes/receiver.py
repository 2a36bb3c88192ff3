"""A real HTTP server that stands for the targets of notifications.

with Receiver() as receiver:
    receiver.url; receiver.wait_for(2); receiver.answers["/path"] = [503, 204]
"""

from __future__ import annotations

import http.server
import json
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, Self


class Post(NamedTuple):
    """A request: path, headers in lower case, body."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Answer(NamedTuple):
    """An answer: status, headers, and what is called before it is sent."""

    status: int = 204
    headers: tuple[tuple[str, str], ...] = ()
    before: Callable[[], object] = lambda: None


class Receiver:
    """Receives POST requests.

    Attributes:
        posts: all of them, in order of arrival.
        answers: answers by path, each used once; then 204.
    """

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.answers: dict[str, list[Answer]] = {}
        self._more = threading.Condition()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                answer = receiver._take(Post(self.path, headers, body))
                answer.before()
                self.send_response(answer.status)
                for name, value in (*answer.headers, ("content-length", "0")):
                    self.send_header(name, value)
                self.end_headers()

            def do_GET(self) -> None:  # a redirect that was followed would come as GET
                self.do_POST()

            def log_message(self, *_: object) -> None:
                pass

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:  # a caller that was killed
                pass

        self._server = Server(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _take(self, post: Post) -> Answer:
        with self._more:
            self.posts.append(post)
            self._more.notify_all()
            waiting = self.answers.get(post.path)
            return waiting.pop(0) if waiting else Answer()

    @property
    def arrivals(self) -> Counter[str]:
        """Number of arrivals by `webhook-id`."""
        with self._more:
            return Counter(post.headers["webhook-id"] for post in self.posts)

    def wait_for(self, number: int, seconds: float = 30.0) -> list[Post]:
        """Return the posts once there are as many; blocks the thread.

        Raises:
            AssertionError: if there are not in time.
        """
        with self._more:
            assert self._more.wait_for(lambda: len(self.posts) >= number, seconds), self.posts
            return list(self.posts)
