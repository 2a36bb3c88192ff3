"""A Redis server process."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import redis

from dejavu_server.api.cache.redis_store import PREFIX


class RedisProcess:
    """A Redis server on a Unix socket, without persistence."""

    def __init__(self, folder: Path) -> None:
        self.socket = folder / "redis.sock"
        self.url = f"unix://{self.socket}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        command = ["redis-server", "--port", "0", "--unixsocket", str(self.socket), "--save", "", "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd=self.socket.parent)
        deadline = time.monotonic() + 30
        while not self.answers():
            assert time.monotonic() < deadline, "Redis does not start"
            time.sleep(0.02)

    def answers(self) -> bool:
        try:
            return bool(self.client().ping())
        except redis.exceptions.RedisError:
            return False

    def client(self) -> redis.Redis:
        return redis.Redis(unix_socket_path=str(self.socket))

    def value(self, key: bytes) -> bytes:
        value = self.client().get(key)
        assert isinstance(value, bytes)
        return value

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def entries(self) -> list[bytes]:
        return list(self.client().scan_iter(PREFIX + b"*"))
