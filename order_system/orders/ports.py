# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""What the scanner needs of the chain and of the database, and what it is told. Pure."""

from typing import Any, Protocol

import msgspec

from orders.batch import Batch, NewToken
from orders.chain.blocks import ChainIdentity, Header, Tip
from orders.chain.decode import ContractOrder, ContractPosition
from orders.events import DeadLetter, Event
from orders.lifecycle import Order, Position
from orders.outcomes import Change, State, Status
from orders.rows import Token


class Chain(Protocol):
    """What the scanner needs of the chain; see `orders.chain.reader`."""

    known_tokens: dict[str, Token]

    def expect(self, identity: ChainIdentity | None) -> None:
        """Believe only providers of this chain."""

    def doubt(self) -> None:
        """Ask every provider again who it is."""

    def distrust(self, name: str) -> None:
        """Let a provider rest whose answer has turned out incomplete."""

    def troubles(self) -> dict[str, str]:
        """Return the last error of each provider that is not well."""

    async def identity(self) -> ChainIdentity:
        """Return what chain and contract there is."""

    async def tip(self) -> Tip:
        """Return the newest block."""

    async def headers(self, numbers: Any) -> dict[int, Header]:
        """Return headers by number."""

    async def orders(self, ids: Any, block: Header) -> dict[int, ContractOrder]:
        """Return the contract's own orders at the end of a block."""

    async def positions(self, ids: Any, block: Header) -> dict[int, ContractPosition]:
        """Return the contract's own positions at the end of a block."""

    async def next_ids(self, block: int) -> tuple[int, int]:
        """Return the contract's counters."""

    async def deployment_block(self, head: int) -> int:
        """Return the block of the contract's deployment."""

    async def read_range(self, first: int, last: int, *, is_strict: bool) -> Batch:
        """Return what happened in final blocks."""

    async def understand(
        self, letter: DeadLetter, block: Header
    ) -> tuple[Event, tuple[NewToken, ...]] | None:
        """Return the event of a dead letter and its new tokens, None if it is still none."""

    async def read_blocks(self, first: int, last: int, *, is_strict: bool) -> Batch:
        """Return what happened in blocks near the head."""


class Checkpoints(Protocol):
    """What the scanner needs of its state; see `orders.state_store`."""

    async def load(self) -> State | None:
        """Return the state."""

    async def create(
        self,
        identity: ChainIdentity,
        contract: str,
        base: Header,
        first_ids: tuple[int | None, int | None],
    ) -> None:
        """Begin a scan."""

    async def tell(
        self, status: Status, detail: str, head: int | None, finalized: int | None
    ) -> None:
        """Write status and a sign of life."""

    async def obey(self, command: Status, detail: str) -> None:
        """Note that an operator's command is done."""

    async def set_discrepancies(self, count: int) -> None:
        """Write how many open orders are contradicted."""

    async def window(self) -> dict[int, str]:
        """Return the stored blocks' hashes."""

    async def known_tokens(self) -> dict[str, Token]:
        """Return every stored token."""


class Orders(Protocol):
    """What the scanner needs of the store; see `orders.order_store`."""

    async def commit(
        self, batch: Batch, *, is_strict: bool, holes: int = 0, is_cautious: bool = False
    ) -> list[Change]:
        """Write a range."""

    async def rollback(self, to: Header, expected: str) -> list[Change]:
        """Undo everything after a block."""

    async def reset(self) -> None:
        """Forget everything."""

    async def to_audit(self, after: int, limit: int, doubted: set[int]) -> list[Order]:
        """Return orders to compare with the contract."""

    async def open_positions(self, after: int, limit: int) -> list[Position]:
        """Return open positions."""

    async def before_missing_position(self, first: int, last: int) -> int | None:
        """Return the block after which a position is missing, if any."""

    async def dead_letters(self, limit: int) -> list[tuple[int, DeadLetter]]:
        """Return the open dead letters."""

    async def dead_creations(self) -> set[int]:
        """Return the ids whose creation is a dead letter."""

    async def apply_late(
        self, letter_id: int, event: Event, tokens: tuple[NewToken, ...]
    ) -> list[Change]:
        """Apply an event that was a dead letter; raise ``RejectedError`` if it must remain one."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The scanner's settings; units and meaning as in `orders.settings.Settings`."""

    contract: str
    confirmations: int | None
    finality_depth: int | None
    start_block: int | None
    resets_restarted_chain: bool
    fetch_workers: int
    range_blocks: int
    range_blocks_max: int
    range_logs_target: int
    window_blocks: int
    tip_batch_blocks: int
    lower_head_polls: int | None
    audit_interval_s: float


class Progress(msgspec.Struct):
    """What the scanner knows of itself, for ``/health``, metrics and tests."""

    status: Status = "RECOVERY"
    detail: str = "starting"
    head: int | None = None
    last_block: int | None = None
    events: int = 0
    dead_letters: int = 0
    reorgs: int = 0
    deepest_reorg: int = 0
    retries: int = 0
