# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
"""Orders, positions and the chain's events that they are made of.

Chain integers are uint256 (NUMERIC(78,0), raw, unscaled), addresses and hashes are bytes, every
time is the time of a block.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    CREATE TABLE system_state (
        component         text        PRIMARY KEY,
        status            text        NOT NULL DEFAULT 'RECOVERY'
                          CHECK (status IN ('ACTIVE', 'RECOVERY', 'ERROR', 'RESET')),
        status_seen       text        NOT NULL DEFAULT 'RECOVERY',
        detail            text        NOT NULL DEFAULT '',
        chain_id          numeric(78, 0),
        genesis_hash      bytea       CHECK (octet_length(genesis_hash) = 32),
        contract_address  bytea       CHECK (octet_length(contract_address) = 20),
        contract_code_hash bytea      CHECK (octet_length(contract_code_hash) = 32),
        start_block       bigint,
        last_block        bigint,
        last_hash         bytea       CHECK (octet_length(last_hash) = 32),
        last_block_time   timestamptz,
        head_block        bigint,
        finalized_block   bigint,
        first_order_id    bigint,
        first_position_id bigint,
        discrepancies     bigint      NOT NULL DEFAULT 0,
        updated_at        timestamptz NOT NULL DEFAULT now()
    );
    COMMENT ON TABLE system_state IS
        'the checkpoint of each scanner: everything up to last_block is in the tables, no more';
    COMMENT ON COLUMN system_state.status IS
        'an operator may write RESET (scan anew) or RECOVERY (check and go on) here';
    COMMENT ON COLUMN system_state.status_seen IS
        'the status that the scanner wrote last: where status differs, an operator has spoken';
    COMMENT ON COLUMN system_state.finalized_block IS 'nothing up to here is ever rolled back';
    COMMENT ON COLUMN system_state.discrepancies IS
        'open orders that the contract''s own state contradicts, as of the last audit'
    """,
    """
    CREATE TABLE blocks (
        number            bigint      PRIMARY KEY,
        hash              bytea       NOT NULL CHECK (octet_length(hash) = 32),
        parent_hash       bytea       NOT NULL CHECK (octet_length(parent_hash) = 32),
        block_time        timestamptz NOT NULL
    );
    COMMENT ON TABLE blocks IS 'the newest blocks, by which a reorg is found'
    """,
    """
    CREATE TABLE processed_events (
        tx_hash           bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
        log_index         integer     NOT NULL,
        block_number      bigint      NOT NULL,
        PRIMARY KEY (tx_hash, log_index)
    );
    CREATE INDEX processed_events_by_block ON processed_events (block_number)
    """,
    """
    CREATE TABLE order_events (
        block_number      bigint      NOT NULL,
        log_index         integer     NOT NULL,
        tx_hash           bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
        block_time        timestamptz NOT NULL,
        order_id          numeric(78, 0) NOT NULL,
        event_type        text        NOT NULL
                          CHECK (event_type IN ('CREATED', 'MODIFIED', 'EXECUTED', 'CANCELLED')),
        old_status        text,
        new_status        text,
        event_data        jsonb       NOT NULL,
        PRIMARY KEY (block_number, log_index)
    );
    CREATE INDEX order_events_by_order ON order_events (order_id, block_number, log_index);
    COMMENT ON COLUMN order_events.new_status IS
        'null for an event that changed nothing: of an order that did not exist, or was settled';
    COMMENT ON COLUMN order_events.event_data IS
        'every field of the log, whole numbers as strings; a creation has the order''s terms too'
    """,
    """
    CREATE TABLE orders (
        order_id          bigint      PRIMARY KEY,
        user_address      bytea       NOT NULL CHECK (octet_length(user_address) = 20),
        token_in          bytea       NOT NULL CHECK (octet_length(token_in) = 20),
        token_out         bytea       NOT NULL CHECK (octet_length(token_out) = 20),
        amount_in         numeric(78, 0) NOT NULL,
        target_price      numeric(78, 0) NOT NULL,
        min_amount_out    numeric(78, 0) NOT NULL,
        order_type        smallint NOT NULL,
        is_long           boolean NOT NULL,
        self_executable   boolean NOT NULL,
        status            text        NOT NULL
                          CHECK (status IN ('PENDING', 'EXECUTED', 'CANCELLED')),
        created_at        timestamptz NOT NULL,
        updated_at        timestamptz NOT NULL,
        executed_at       timestamptz,
        cancelled_at      timestamptz,
        tx_hash           bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
        block_number      bigint      NOT NULL,
        log_index         integer     NOT NULL,
        executor_address  bytea       CHECK (octet_length(executor_address) = 20),
        amount_out        numeric(78, 0),
        execution_tx_hash bytea       CHECK (octet_length(execution_tx_hash) = 32),
        execution_block   bigint
    );
    CREATE INDEX orders_by_block ON orders (block_number, order_id);
    CREATE INDEX orders_by_status ON orders (status, block_number, order_id);
    CREATE INDEX orders_by_user ON orders (user_address, block_number, order_id);
    CREATE INDEX orders_by_status_and_creation ON orders (status, created_at)
    """,
    """
    CREATE TABLE order_counts (
        status            text        PRIMARY KEY,
        total             bigint      NOT NULL DEFAULT 0 CHECK (total >= 0)
    );
    INSERT INTO order_counts (status) VALUES ('PENDING'), ('EXECUTED'), ('CANCELLED');
    COMMENT ON TABLE order_counts IS
        'orders by status, kept in the transaction that changes them'
    """,
    """
    CREATE TABLE order_counts_by_minute (
        status            text        NOT NULL,
        created_minute    timestamptz NOT NULL,
        total             bigint      NOT NULL CHECK (total >= 0),
        PRIMARY KEY (status, created_minute)
    );
    COMMENT ON TABLE order_counts_by_minute IS
        'orders by present status and minute of creation, so that a day is 1,440 rows to add up'
    """,
    """
    CREATE TABLE tokens (
        address           bytea       PRIMARY KEY CHECK (octet_length(address) = 20),
        symbol            text,
        decimals          smallint    NOT NULL CHECK (decimals BETWEEN 0 AND 255),
        is_assumed        boolean     NOT NULL DEFAULT false,
        first_block       bigint      NOT NULL
    );
    INSERT INTO tokens (address, symbol, decimals, first_block)
        VALUES (decode(repeat('00', 20), 'hex'), 'ETH', 18, -1);
    COMMENT ON COLUMN tokens.is_assumed IS
        'the token''s contract does not say its decimals (EIP-20: optional), so they count as 0'
    """,
    """
    CREATE TABLE positions (
        position_id       bigint      PRIMARY KEY,
        user_address      bytea       NOT NULL CHECK (octet_length(user_address) = 20),
        token             bytea       NOT NULL CHECK (octet_length(token) = 20),
        size              numeric(78, 0) NOT NULL,
        collateral_amount numeric(78, 0) NOT NULL,
        leverage          numeric(78, 0) NOT NULL,
        position_type     smallint NOT NULL,
        entry_price       numeric(78, 0) NOT NULL,
        status            text        NOT NULL CHECK (status IN ('OPEN', 'CLOSED', 'LIQUIDATED')),
        pnl               numeric(78, 0),
        liquidator        bytea       CHECK (octet_length(liquidator) = 20),
        opened_at         timestamptz NOT NULL,
        closed_at         timestamptz,
        tx_hash           bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
        block_number      bigint      NOT NULL,
        log_index         integer     NOT NULL,
        closing_tx_hash   bytea       CHECK (octet_length(closing_tx_hash) = 32),
        closing_block     bigint
    );
    CREATE INDEX positions_by_user ON positions (user_address, block_number, position_id)
    """,
    """
    CREATE TABLE position_events (
        block_number      bigint      NOT NULL,
        log_index         integer     NOT NULL,
        tx_hash           bytea       NOT NULL CHECK (octet_length(tx_hash) = 32),
        block_time        timestamptz NOT NULL,
        position_id       numeric(78, 0) NOT NULL,
        event_type        text        NOT NULL
                          CHECK (event_type IN ('OPENED', 'CLOSED', 'LIQUIDATED')),
        old_status        text,
        new_status        text,
        event_data        jsonb       NOT NULL,
        PRIMARY KEY (block_number, log_index)
    );
    CREATE INDEX position_events_by_position
        ON position_events (position_id, block_number, log_index)
    """,
    """
    CREATE TABLE dead_letters (
        id                bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        source            text        NOT NULL,
        reason            text        NOT NULL,
        tx_hash           bytea,
        log_index         integer,
        block_number      bigint,
        payload           jsonb       NOT NULL,
        created_at        timestamptz NOT NULL DEFAULT now(),
        resolved_at       timestamptz,
        UNIQUE (source, tx_hash, log_index)
    );
    CREATE INDEX dead_letters_open ON dead_letters (source, id) WHERE resolved_at IS NULL;
    CREATE INDEX dead_letters_by_block ON dead_letters (block_number);
    COMMENT ON TABLE dead_letters IS
        'what could not be processed, as it came, until somebody replays it'
    """,
)


def upgrade() -> None:
    """Create the tables."""
    for statement in STATEMENTS:
        op.get_bind().exec_driver_sql(statement)
