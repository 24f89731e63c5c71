# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
import asyncio
from typing import Any

from linkora.settings import HttpSettings
from testkit.market import Server, until


async def test_preflight_and_answer_allow_any_origin_by_default(server: Server) -> None:
    headers = {
        "Origin": "https://chart.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "x-client",
    }
    async with server.client.options("/candles", headers=headers) as response:
        assert response.status == 200
        assert response.headers["Access-Control-Allow-Origin"] == "*"
    async with server.client.get("/symbols", headers={"Origin": "https://x.example"}) as response:
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_errors_can_be_read_by_pages_too(server: Server) -> None:
    async with server.client.get("/candles", headers={"Origin": "https://x.example"}) as response:
        assert response.status == 400
        assert response.headers["Access-Control-Allow-Origin"] == "*"


async def test_only_the_set_origins_may_read(start_server: Any) -> None:
    async with start_server(http=HttpSettings(cors_origins="https://a.example")) as server:
        for origin, allowed in (
            ("https://a.example", "https://a.example"),
            ("https://b.example", None),
        ):
            async with server.client.get("/symbols", headers={"Origin": origin}) as response:
                assert response.headers.get("Access-Control-Allow-Origin") == allowed


async def test_rate_limit_answers_429_with_retry_after_but_never_for_health(
    start_server: Any,
) -> None:
    async with start_server(http=HttpSettings(rate_limit=3)) as server:
        statuses = []
        for _ in range(4):
            async with server.client.get("/symbols") as response:
                statuses.append(response.status)
        assert statuses == [200, 200, 200, 429]
        assert 1 <= int(response.headers["Retry-After"]) <= 60
        assert await server.get("/health")


async def test_rate_limit_speaks_binances_dialect_on_binances_paths(start_server: Any) -> None:
    async with start_server(http=HttpSettings(rate_limit=1)) as server:
        await server.get("/symbols")
        async with server.client.get("/api/v3/time") as response:
            assert response.status == 429
            assert 1 <= int(response.headers["Retry-After"]) <= 60
            text = "Too many requests: at most 1 a minute"
            assert await response.json() == {"code": -1003, "msg": text}
        assert await server.refused("/symbols") == (429, {"error": text})


async def test_replicas_count_together(start_server: Any) -> None:
    limited = HttpSettings(rate_limit=5)
    async with start_server(http=limited) as first, start_server(http=limited) as second:
        for _ in range(5):
            await first.get("/symbols")
        await second.get("/symbols")  # before it has heard of the others

        async def is_refused() -> bool:
            async with second.client.get("/symbols") as response:
                return response.status == 429

        await asyncio.sleep(1.1)  # two synchronisations
        await until(is_refused, 2)


async def test_forwarded_address_counts_only_from_a_trusted_proxy(start_server: Any) -> None:
    async def statuses(server: Server) -> list[int]:
        told = []
        for last in range(4):
            headers = {"X-Forwarded-For": f"198.51.100.{last}"}
            async with server.client.get("/symbols", headers=headers) as response:
                told.append(response.status)
        return told

    async with start_server(http=HttpSettings(rate_limit=2)) as server:
        assert await statuses(server) == [200, 200, 429, 429]
    trusting = HttpSettings(rate_limit=2, trusted_proxies="127.0.0.1")
    async with start_server(http=trusting) as server:
        assert await statuses(server) == [200, 200, 200, 200]


async def test_endless_head_is_cut_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\nx-a: ")
    for _ in range(5):  # 80 KiB, and no end of the head
        writer.write(b"a" * 16_384)
        await asyncio.sleep(0.02)
    answer = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answer.startswith(b"HTTP/1.1 431 ")


async def test_large_body_is_refused(server: Server) -> None:
    async with server.client.post("/candles", data=b"x" * 100_000) as response:
        assert response.status == 413
    async with server.client.post("/candles", data=b"x") as response:
        assert response.status == 405


async def test_unknown_path_is_an_error_in_json(server: Server) -> None:
    assert await server.refused("/nothing") == (404, {"error": "Not Found"})


async def test_answer_without_a_body_still_arrives(shared_server: Server) -> None:
    """The head waits for the body that follows it: here none does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", shared_server.port)
    writer.write(b"HEAD /symbols HTTP/1.1\r\nHost: x\r\n\r\n")
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 5)
    assert head.startswith(b"HTTP/1.1 200 ")
    tag = next(line for line in head.split(b"\r\n") if line.startswith(b"etag: "))
    # Two requests at once, of which the first gets a head only.
    writer.write(
        b"GET /symbols HTTP/1.1\r\nHost: x\r\nIf-None-Match: " + tag.removeprefix(b"etag: ")
        + b"\r\n\r\nGET /symbols HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    )  # fmt: skip
    answers = await asyncio.wait_for(reader.read(), 5)
    writer.close()
    assert answers.startswith(b"HTTP/1.1 304 ")
    assert answers.count(b"HTTP/1.1 200 ") == 1
    assert answers.endswith(b'{"symbols":["BTCUSDT","ETHUSDT"]}')


async def test_answer_depends_on_the_origin_for_caches(server: Server) -> None:
    async with server.client.get("/symbols") as response:
        assert "Origin" in ", ".join(response.headers.getall("Vary"))
        assert "Access-Control-Allow-Origin" not in response.headers
