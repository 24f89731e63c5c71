# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the collector counts and measures."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class CollectorMetrics:
    """The collector's metrics, in ``registry``."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.candles_stored = Counter(
            "collector_candles_stored", "One-minute rows written", ["source"], registry=registry
        )
        self.closes = Counter("collector_closes", "Closed candles published", registry=registry)
        self.closes_late = Counter(
            "collector_closes_late", "Closes fetched by REST after waiting", registry=registry
        )
        self.revisions = Counter(
            "collector_revisions", "Closed candles that the exchange corrected", registry=registry
        )
        self.used_weight = Gauge(
            "collector_used_weight", "Request weight used in this minute", registry=registry
        )
        self.backfill_progress = Gauge(
            "collector_backfill_progress", "Part of the history stored", ["symbol"],
            registry=registry,
        )  # fmt: skip
        self.open_gaps = Gauge("collector_open_gaps", "Gaps being repaired", registry=registry)
        self.repaired_gaps = Counter("collector_repaired_gaps", "Gaps filled", registry=registry)
        self.explained_gaps = Counter(
            "collector_explained_gaps", "Gaps that the exchange confirmed", registry=registry
        )
        self.stream_lag = Gauge(
            "collector_stream_lag_seconds", "Exchange clock minus event time", ["symbol"],
            registry=registry,
        )  # fmt: skip
        self.silence = Gauge(
            "collector_stream_silence_seconds", "Seconds since the last kline event", ["symbol"],
            registry=registry,
        )  # fmt: skip
        self.stream_connects = Counter(
            "collector_stream_connects", "Stream connections made", registry=registry
        )
        self.corrupt_messages = Counter(
            "collector_corrupt_messages", "Stream messages not understood", registry=registry
        )
        self.unknown_messages = Counter(
            "collector_unknown_messages", "Stream messages of unknown kinds", registry=registry
        )
        self.books_crossed = Counter(
            "collector_books_crossed", "Books refused because bid >= ask", registry=registry
        )
        self.book_resyncs = Counter(
            "collector_book_resyncs", "Books read anew from a snapshot", registry=registry
        )
        self.write_seconds = Histogram(
            "collector_write_seconds", "Duration of a write", ["what"], registry=registry
        )
        self.publish_failures = Counter(
            "collector_publish_failures", "Messages that Redis did not take", registry=registry
        )
