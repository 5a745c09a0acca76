"""Tables of a study's SQLite file, version 1.

`trial` has one row per candidate, seed and hardware in the method's request order; `accuracy` and `cost` are
keyed by content and shared by trials. Nothing in flight has a row.
"""

__all__ = ["APPLICATION_ID", "SCHEMA", "SCHEMA_VERSION", "TRIAL_COLUMNS"]

APPLICATION_ID = 0x424A4C45
SCHEMA_VERSION = 1

SCHEMA = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE accuracy(key TEXT PRIMARY KEY, payload TEXT NOT NULL,
  status TEXT NOT NULL CHECK(status IN('done','failed')),
  accuracy REAL, loss REAL, metrics TEXT, failure TEXT, attempts INTEGER NOT NULL, seed INTEGER NOT NULL,
  wall_s REAL, device TEXT, host TEXT, weights_sha256 TEXT,
  code_version TEXT NOT NULL, created_utc TEXT NOT NULL);
CREATE TABLE cost(key TEXT PRIMARY KEY, payload TEXT NOT NULL,
  status TEXT NOT NULL CHECK(status IN('done','infeasible')),
  energy_pj REAL, latency_cycles INTEGER, dram_pj REAL, breakdown BLOB, reason TEXT,
  code_version TEXT NOT NULL);
CREATE TABLE trial(number INTEGER PRIMARY KEY, candidate TEXT NOT NULL, family TEXT NOT NULL,
  hardware_hash TEXT NOT NULL, data_hash TEXT NOT NULL, scheme TEXT NOT NULL, width REAL,
  seed INTEGER NOT NULL, epochs REAL, generation INTEGER, rung INTEGER,
  accuracy_key TEXT REFERENCES accuracy(key), cost_key TEXT NOT NULL REFERENCES cost(key),
  status TEXT NOT NULL CHECK(status IN('done','failed','infeasible')), code_version TEXT NOT NULL,
  created_utc TEXT NOT NULL);
CREATE TABLE event(id INTEGER PRIMARY KEY, at_utc TEXT NOT NULL, kind TEXT NOT NULL, accuracy_key TEXT,
  detail TEXT);
"""

TRIAL_COLUMNS = (
    *("number", "candidate", "family", "hardware_hash", "data_hash", "scheme", "width", "seed", "epochs"),
    *("generation", "rung", "accuracy_key", "cost_key", "status", "code_version", "created_utc"),
)
