"""A relay that makes a link out of the loopback device: every byte arrives a set time after it was sent, and none faster than a set rate."""

import asyncio
import threading
import time
from collections import deque

from peers import net

CHUNK = 1 << 18
HELD = 64 << 20  # more than the product of any rate and delay here: the relay itself never limits


class Pipe:
    """One direction of one connection."""

    def __init__(self, reader, writer, delay_s, rate):
        self._reader, self._writer = reader, writer
        self._delay, self._rate = delay_s, rate
        self._queue = deque()
        self._held = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self.bytes = 0
        self.first = self.last = None

    async def take(self):
        loop = asyncio.get_running_loop()
        free_at = 0.0  # when the link has sent all that it was given
        while data := await self._reader.read(CHUNK):
            now = loop.time()
            if self._rate:
                free_at = max(now, free_at) + len(data) / self._rate
            self._queue.append((max(now, free_at) + self._delay, data))
            self._held += len(data)
            self._wake.set()
            while self._held > HELD:
                self._room.clear()
                await self._room.wait()
        self._queue.append((loop.time() + self._delay, b""))
        self._wake.set()

    async def give(self):
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                self._wake.clear()
                await self._wake.wait()
            due, data = self._queue.popleft()
            if (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            if not data:
                self._writer.close()
                return
            self._writer.write(data)
            self.bytes += len(data)
            self.last = time.monotonic()
            self.first = self.first or self.last
            self._held -= len(data)
            self._room.set()
            await self._writer.drain()


class Relay:
    """Listens for the party behind `target` (HOST:PORT). `round_trip_s` is shared by the two directions; `rate` is bytes/s towards the caller."""

    def __init__(self, lab, target, round_trip_s, rate=None):
        self._target = target.rsplit(":", 1)
        self._delay, self._rate = round_trip_s / 2, rate
        self.host, self.port = net.new_address(), None
        self.pipes = []  # (towards the target, towards the caller) of each connection
        self._loop = asyncio.new_event_loop()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), daemon=True)
        self._thread.start()
        started.wait(10)
        lab.closing(self)

    @property
    def address(self):
        return f"{self.host}:{self.port}"

    def _run(self, started):
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connect, self.host, 0, limit=4 * CHUNK))
        self.port = server.sockets[0].getsockname()[1]
        started.set()
        self._loop.run_forever()

    async def _connect(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target, limit=4 * CHUNK)
            there = Pipe(reader, far_writer, self._delay, None)
            back = Pipe(far_reader, writer, self._delay, self._rate)
            self.pipes.append((there, back))
            await asyncio.gather(there.take(), there.give(), back.take(), back.give())
        except OSError:
            pass
        finally:
            writer.close()

    def rate(self):
        """Bytes a second towards the caller, from the first byte to the last, of the busiest connection."""
        back = max((pipe for _, pipe in self.pipes), key=lambda pipe: pipe.bytes)
        return back.bytes / (back.last - back.first)

    async def _cancel(self):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def close(self):
        asyncio.run_coroutine_threadsafe(self._cancel(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()
