#!/usr/bin/env python3
"""soak.py HTTP_ECHO [SECONDS [SEED]]: clients that behave and clients that do not, hundreds at a time, against http_echo: keep-alive and
pipelines, large and chunked bodies, half closes; connections reset in the middle of a request, a body or a response, pipelines that
nobody reads, senders that are slow or give up, bytes that are no HTTP. What is answered must be right, and when all have gone no task, no
descriptor and no memory may be left behind. 5 seconds unless it says more; progress every ten."""
import asyncio
import os
import random
import re
import socket
import struct
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from echo_server import LIMIT, Failure, test_with_server  # noqa: E402

PROGRAM = sys.argv[1]
SECONDS = float(sys.argv[2]) if len(sys.argv) > 2 else 5
SEED = int(sys.argv[3]) if len(sys.argv) > 3 else random.SystemRandom().randrange(1 << 32)
AT_ONCE = 300
RESIDENT_SLACK = 0.25  # the C library's arenas may still spread out while the bytes in use stay
# The pools (64 workspaces a worker, of up to 200 KB) take minutes to have them all.
HEAP_SLACK = 0.05 if SECONDS >= 300 else float("inf")

GET = b"GET /hello/%d HTTP/1.1\r\nHost: soak\r\n\r\n"
chance = random.Random(SEED)


async def response(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"\r\nContent-Length: (\d+)\r\n", head, re.IGNORECASE)
    if not head.startswith(b"HTTP/1.1 200 ") or length is None:
        raise Failure(f"answered by {head!r}")
    return await reader.readexactly(int(length[1]))


async def expect(reader, wanted):
    got = await response(reader)
    if got != wanted:
        raise Failure(f"{got[:100]!r} in place of {wanted[:100]!r}")


def hello(n):
    return b'{"message":"hello %d"}' % n


def reset(writer):
    """An RST in place of a FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def keeps_alive(reader, writer):
    for n in range(chance.randrange(1, 30)):
        writer.write(GET % n)
        await expect(reader, hello(n))


async def pipelines(reader, writer):
    count = chance.randrange(2, 100)
    writer.write(b"".join(GET % n for n in range(count)))
    for n in range(count):
        await expect(reader, hello(n))


async def echoes(reader, writer):
    sent = chance.randbytes(chance.choice((1, 1000, 64_000, 500_000)))
    if chance.random() < 0.5:
        writer.write(b"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: %d\r\n\r\n" % len(sent) + sent)
    else:
        writer.write(b"POST /echo HTTP/1.1\r\nHost: soak\r\nTransfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(sent), 9000):
            piece = sent[at:at + 9000]
            writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        writer.write(b"0\r\n\r\n")
    await expect(reader, sent)


async def closes_half(reader, writer):
    writer.write(GET % 7)
    writer.write_eof()
    await expect(reader, hello(7))
    if await reader.read(1):
        raise Failure("more than one answer")


async def leaves_request(_, writer):
    request = GET % 1
    writer.write(request[:chance.randrange(len(request))])
    await asyncio.sleep(chance.random() * 0.05)
    if chance.random() < 0.5:
        reset(writer)


async def leaves_body(_, writer):
    writer.write(b"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: 100000\r\n\r\n" + bytes(chance.randrange(99_999)))
    await asyncio.sleep(chance.random() * 0.05)
    reset(writer)


async def leaves_response(reader, writer):
    writer.write(b"POST /echo HTTP/1.1\r\nHost: soak\r\nContent-Length: 2000000\r\n\r\n" + bytes(2_000_000))
    await reader.readexactly(chance.randrange(1, 100_000))
    reset(writer)


async def reads_nothing(_, writer):
    writer.write(GET % 1 * 5000)
    await asyncio.sleep(chance.random() * 0.2)
    reset(writer)


async def is_slow(reader, writer):
    stop = chance.randrange(10, 80)
    for i, byte in enumerate(GET % 3):
        if i == stop:
            return reset(writer)
        writer.write(bytes([byte]))
        await asyncio.sleep(0.002)
    await expect(reader, hello(3))


async def is_no_http(reader, writer):
    writer.write(chance.randbytes(chance.randrange(1, 300)) + b"\r\n\r\n")
    writer.write_eof()
    said = await reader.read()
    if said and not said.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 501 ", b"HTTP/1.1 505 ", b"HTTP/1.1 414 ", b"HTTP/1.1 431 ")):
        raise Failure(f"no HTTP was answered by {said[:100]!r}")


WAYS = [keeps_alive, keeps_alive, pipelines, echoes, echoes, closes_half, leaves_request, leaves_body, leaves_response, reads_nothing,
        is_slow, is_no_http]
done = {way.__name__: 0 for way in WAYS}


async def client(server, until):
    while time.monotonic() < until:
        way = chance.choice(WAYS)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1 << 20)
        try:
            async with asyncio.timeout(LIMIT):
                await way(reader, writer)
        except TimeoutError:
            raise Failure(f"{way.__name__} had no answer for {LIMIT} s") from None
        except (ConnectionError, asyncio.IncompleteReadError) as e:
            # Those that are answered in any case were not.
            if way in (keeps_alive, pipelines, echoes, closes_half):
                raise Failure(f"{way.__name__}: {e!r}") from None
        finally:
            writer.close()
        done[way.__name__] += 1


async def load(server, seconds):
    until = time.monotonic() + seconds
    failures = ()
    try:
        async with asyncio.TaskGroup() as clients:
            for _ in range(AT_ONCE):
                clients.create_task(client(server, until))
    except* Failure as e:
        failures = e.exceptions
    if failures:
        raise failures[0]


def at_rest(server):
    server.wait_until_at_rest()
    return server.memory_kb(), server.stats()["heap_bytes"] // 1024


def test(server):
    began = time.monotonic()
    memory = [at_rest(server)]
    while (left := SECONDS - (time.monotonic() - began)) > 0:
        asyncio.run(load(server, min(left, max(1.0, min(10.0, SECONDS / 5)))))
        memory.append(at_rest(server))
        if time.monotonic() - began >= 10:
            print(f"soak: {time.monotonic() - began:.0f} s, {sum(done.values())} connections, at rest {memory[-1][0]} KB resident, "
                  f"{memory[-1][1]} KB of the heap in use", flush=True)
    print(f"soak: {done}; at rest, resident and of the heap in use, in KB: {memory[0]} before, {memory[1]} after the first round, "
          f"{memory[-1]} at the end")
    # The first rounds fill the pools, and the C library's arenas; from then on they are used again. What leaks grows on.
    for name, slack, column in ("resident", RESIDENT_SLACK, 0), ("of the heap in use", HEAP_SLACK, 1):
        kilobytes = [m[column] for m in memory]
        if min(kilobytes[-2:]) > max(kilobytes[1:2 + len(kilobytes) // 2]) * (1 + slack):
            raise Failure(f"{name}, the server at rest has grown all the time, in KB: {kilobytes}")


print(f"soak: seed {SEED}, {SECONDS:g} s", flush=True)
sys.exit(test_with_server(f"soak: seed {SEED}", PROGRAM, test))
