-- Tables of a ledger, as text for both databases; schema.py replaces the names of three types.
--
-- `entries` is the ledger itself: one row per event of any kind, in one order, chained by hashes. `forecasts`,
-- `outcomes`, `markets`, `shadows` and `model_changes` index the entries of those kinds; all their columns are derived
-- from the canonical form of the entries, those of a shadow also from that of its forecast; `hindsight` from later
-- entries.
-- `scores` is their projection, with one row for each game and horizon that has a report: the scores of its forecasts.
-- `snapshots` caches the state of the adaptive intervals computed from the outcomes. `checkpoints` holds signed heads of
-- the chain. `ledger` has one row that identifies the ledger, `schema_version` one with the version of the schema.
-- `leases`, `games`, `notifications` and `model_workers` are not part of the record: they contain the holders of leases,
-- the states of games that a feed shows, who sent which notification, and the models loaded by each worker
-- (dejavu_server/coordination).
--
-- Times (`…_us`) are microseconds since 1970, UTC. One line has one column, constraint or index, written as PostgreSQL
-- writes it: the check of the schema compares lines.

CREATE TABLE schema_version (
  version TEXT NOT NULL,
  PRIMARY KEY (version)
);

CREATE TABLE ledger (
  id INTEGER NOT NULL, -- always 1
  ledger_id TEXT NOT NULL, -- UUID created with the ledger: 32 hexadecimal digits
  epoch TEXT NOT NULL, -- 16 random hexadecimal digits; a restore draws new ones
  PRIMARY KEY (id),
  CHECK ((id = 1))
);

CREATE TABLE entries (
  sequence BIGINT NOT NULL,
  kind TEXT NOT NULL,
  canonical TEXT NOT NULL,
  hash BYTEA NOT NULL, -- SHA-256(hash of the previous entry ‖ canonical)
  PRIMARY KEY (sequence)
);

CREATE TABLE forecasts (
  sequence BIGINT NOT NULL,
  key TEXT NOT NULL, -- game, horizon, second of play; and the caller if it is not owned: JSON
  revision INTEGER NOT NULL,
  pattern TEXT NOT NULL, -- canonical JSON
  game_id TEXT NOT NULL,
  horizon TEXT NOT NULL,
  generated_us BIGINT NOT NULL,
  day INTEGER NOT NULL, -- IssuedForecast.listed_day as date.toordinal()
  home_team TEXT NOT NULL,
  away_team TEXT NOT NULL,
  model_version TEXT NOT NULL,
  minute INTEGER NOT NULL, -- complete minutes, at most 47
  elapsed_s DOUBLE PRECISION NOT NULL, -- seconds of play since tip-off, overtime included
  at_moment BOOLEAN NOT NULL, -- whether it is of a moment, not of the end of a minute
  alpha DOUBLE PRECISION NOT NULL,
  confidence DOUBLE PRECISION NOT NULL, -- probability of the likelier side
  replay BOOLEAN NOT NULL,
  margin_plausible BOOLEAN NOT NULL, -- whether it gave none, or one near that of the ratings
  pregame_margin DOUBLE PRECISION, -- this and the next two as the request gave them; NULL if it did not
  pregame_total DOUBLE PRECISION,
  neutral_site BOOLEAN,
  missing_players DOUBLE PRECISION, -- effect on the expected margin; NULL: 0 or unknown
  late TEXT NOT NULL, -- reason as recorded; empty: recorded in time
  hindsight BIGINT, -- the report that shows that it was made with hindsight (rules.py); NULL: none does
  scored_values BYTEA NOT NULL, -- inputs of its scores (entries/scored_values.py): settling reads very many
  recorded_by TEXT NOT NULL, -- identity of the caller; empty if it is not known
  owned BOOLEAN NOT NULL, -- whether the caller was the owner of the game, so that it counts
  lease TEXT NOT NULL, -- the lease that made it the owner; empty: none
  total_values BYTEA, -- the same of its total; NULL if it has none
  PRIMARY KEY (sequence),
  UNIQUE (key, revision),
  FOREIGN KEY (sequence) REFERENCES entries(sequence)
);
-- Covering index of the query for the newest recent forecast of each game and horizon.
CREATE INDEX ix_forecasts_current ON forecasts (generated_us, game_id, horizon, sequence, late, owned);
CREATE INDEX ix_forecasts_game ON forecasts (game_id, horizon, sequence);
CREATE INDEX ix_forecasts_day ON forecasts (day, sequence);
CREATE INDEX ix_forecasts_home ON forecasts (home_team, sequence);
CREATE INDEX ix_forecasts_away ON forecasts (away_team, sequence);
CREATE INDEX ix_forecasts_model ON forecasts (model_version, sequence);

CREATE TABLE outcomes (
  sequence BIGINT NOT NULL,
  first_sequence BIGINT NOT NULL, -- of the first report since the last withdrawal, if any; the order of online updates
  game_id TEXT NOT NULL,
  horizon TEXT NOT NULL,
  revision INTEGER NOT NULL,
  differential INTEGER NOT NULL,
  home_team TEXT NOT NULL,
  away_team TEXT NOT NULL,
  observed_us BIGINT NOT NULL,
  day INTEGER NOT NULL, -- game day of observed_us, as in forecasts
  replay BOOLEAN NOT NULL,
  withdrawn BOOLEAN NOT NULL, -- the revision withdraws the outcome
  total_points INTEGER, -- of both teams; NULL if they were not reported
  overtimes INTEGER, -- NULL if they were not reported
  players TEXT, -- the box score, see codec.players_of; NULL if it was not reported
  recorded_by TEXT NOT NULL, -- identity of the caller; empty if it is not known
  PRIMARY KEY (sequence),
  UNIQUE (game_id, horizon, revision),
  FOREIGN KEY (sequence) REFERENCES entries(sequence)
);

CREATE TABLE markets (
  sequence BIGINT NOT NULL,
  forecast_sequence BIGINT NOT NULL, -- the first market of each kind of a forecast
  on_total BOOLEAN NOT NULL, -- on the total points, not on the lead
  sent_us BIGINT, -- when it was sent; NULL if it came with the request for the forecast
  hindsight BIGINT, -- as in forecasts, of a market that was sent later
  PRIMARY KEY (sequence),
  UNIQUE (forecast_sequence, on_total),
  FOREIGN KEY (sequence) REFERENCES entries(sequence)
);

CREATE TABLE shadows (
  sequence BIGINT NOT NULL,
  forecast_sequence BIGINT NOT NULL, -- the forecast that it shadows
  model_version TEXT NOT NULL, -- the model that made it
  scored_values BYTEA NOT NULL, -- as in forecasts
  PRIMARY KEY (sequence),
  UNIQUE (forecast_sequence, model_version),
  FOREIGN KEY (sequence) REFERENCES entries(sequence)
);

CREATE TABLE model_changes (
  sequence BIGINT NOT NULL,
  model_version TEXT NOT NULL,
  from_version TEXT NOT NULL, -- the champion that it replaced; empty: none
  PRIMARY KEY (sequence),
  FOREIGN KEY (sequence) REFERENCES entries(sequence)
);

CREATE TABLE scores (
  game_id TEXT NOT NULL,
  horizon TEXT NOT NULL,
  sequence BIGINT NOT NULL, -- of the outcome of the game that settled it last
  first_report BIGINT NOT NULL, -- sequence of the first report: the order of a record
  first_sequence BIGINT NOT NULL, -- as in outcomes: the order of online updates
  outcome BIGINT, -- sequence of the outcome that stands; NULL if it is withdrawn
  since BIGINT NOT NULL, -- sequence from which models learn from forecasts of the game
  replay BOOLEAN NOT NULL,
  first_day INTEGER, -- of its forecasts; NULL without any
  last_day INTEGER,
  learned BOOLEAN NOT NULL, -- whether models learn from it
  day INTEGER NOT NULL, -- game day of the report at first_sequence
  neutral_site BOOLEAN, -- true if all forecasts of the owner in time say so, otherwise NULL
  observations TEXT NOT NULL, -- to learn from: model, quarter and score of each, as JSON
  texts TEXT NOT NULL, -- names that the arrays refer to, as JSON
  forecasts BYTEA NOT NULL, -- this and the next two are arrays: settling.py
  markets BYTEA NOT NULL,
  shadows BYTEA NOT NULL,
  quantiles BYTEA NOT NULL, -- of the forecasts, then of the shadows, as float32
  PRIMARY KEY (game_id, horizon)
);
CREATE INDEX ix_scores_first ON scores (first_sequence);
CREATE INDEX ix_scores_sequence ON scores (sequence);

CREATE TABLE checkpoints (
  sequence BIGINT NOT NULL,
  hash BYTEA NOT NULL,
  epoch TEXT NOT NULL,
  signed_us BIGINT NOT NULL,
  public_key BYTEA NOT NULL,
  signature BYTEA NOT NULL,
  PRIMARY KEY (sequence)
);

CREATE TABLE snapshots (
  sequence BIGINT NOT NULL, -- last first_sequence that the state includes
  state BYTEA NOT NULL,
  PRIMARY KEY (sequence)
);

-- The times of the tables below are those of the database's clock; `caller` is the identity of the caller who changed
-- the row last, empty if it is not known.

CREATE TABLE leases (
  name TEXT NOT NULL,
  holder TEXT NOT NULL,
  caller TEXT NOT NULL,
  acquired_us BIGINT NOT NULL,
  expires_us BIGINT NOT NULL,
  PRIMARY KEY (name)
);

CREATE TABLE games (
  game_id TEXT NOT NULL,
  state BYTEA NOT NULL, -- serialized dejavu.v1.Game
  version BIGINT NOT NULL, -- greater than those of all states published before
  published_us BIGINT NOT NULL,
  caller TEXT NOT NULL,
  PRIMARY KEY (game_id),
  UNIQUE (version)
);

CREATE TABLE notifications (
  id TEXT NOT NULL,
  target TEXT NOT NULL,
  rule TEXT NOT NULL,
  game_id TEXT NOT NULL, -- empty: of no game
  text TEXT NOT NULL,
  status INTEGER NOT NULL, -- of dejavu.ops.v1.NotificationStatus
  attempts INTEGER NOT NULL,
  sender TEXT NOT NULL,
  failure TEXT NOT NULL, -- why the newest attempt failed; empty if it did not
  caller TEXT NOT NULL,
  created_us BIGINT NOT NULL,
  updated_us BIGINT NOT NULL,
  expires_us BIGINT NOT NULL, -- when another sender can claim it
  PRIMARY KEY (id, target)
);

CREATE TABLE model_workers (
  server TEXT NOT NULL,
  worker TEXT NOT NULL,
  state TEXT NOT NULL, -- JSON: the models that the worker has loaded, or failed to load
  seen_us BIGINT NOT NULL, -- when it last reported
  PRIMARY KEY (server, worker)
);
