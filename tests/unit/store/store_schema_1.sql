-- A database as the first schema made it: what every later version has to be able to read.
PRAGMA application_id = 1199003489;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE audit (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    event TEXT NOT NULL,
    who TEXT NOT NULL,
    text TEXT NOT NULL,
    subject TEXT NOT NULL
) STRICT;
INSERT INTO "audit" VALUES(1,21.0,'decision','local command line','Washing machine may not change /open on Front door.','1');
CREATE TABLE decision (
    id INTEGER PRIMARY KEY,
    request TEXT NOT NULL,
    sentence TEXT NOT NULL,
    approve INTEGER NOT NULL,
    scope TEXT NOT NULL,
    duration TEXT NOT NULL,
    who TEXT NOT NULL,
    at REAL NOT NULL,
    until REAL,
    device TEXT,
    undone_at REAL,
    undone_by TEXT,
    earlier INTEGER NOT NULL           -- how many places the list has of which decision_before holds the filled
) STRICT;
INSERT INTO "decision" VALUES(1,'a1b2c3','Washing machine may not change /open on Front door.',0,'operation','tonight','local command line',21.0,86400.0,NULL,NULL,NULL,2);
CREATE TABLE decision_access (
    of INTEGER NOT NULL REFERENCES decision (id),
    position INTEGER NOT NULL,
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    PRIMARY KEY (of, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "decision_access" VALUES(1,0,'washer/main','lock/tcp-80','http','write','/open');
CREATE TABLE decision_before (
    of INTEGER NOT NULL REFERENCES decision (id),
    position INTEGER NOT NULL,
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    verb TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    allowed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    decision INTEGER,
    until REAL,
    once INTEGER NOT NULL,
    PRIMARY KEY (of, position)
) STRICT, WITHOUT ROWID;
INSERT INTO "decision_before" VALUES(1,0,'washer/main','lock/tcp-80','http','write','/open','pending','new partner','tcp',80,'PUT',10.0,20.0,0,3,NULL,NULL,0);
CREATE TABLE device (
    id TEXT PRIMARY KEY,
    number INTEGER NOT NULL UNIQUE,
    place TEXT NOT NULL,
    name TEXT NOT NULL,
    mac TEXT,
    addresses TEXT NOT NULL,           -- JSON list
    switch TEXT,                       -- datapath id, 16 hexadecimal digits
    port INTEGER,
    admission TEXT NOT NULL,
    young INTEGER NOT NULL,
    kind TEXT NOT NULL,
    vendor TEXT NOT NULL,
    roles TEXT NOT NULL,               -- JSON list
    first_seen REAL NOT NULL,          -- all times: seconds since the epoch
    last_seen REAL NOT NULL,
    named_by_manager INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "device" VALUES('lock',1,'site','Front door \ud800 \\ \u0000','02:00:00:00:00:01','["10.0.0.1", "fe80::1"]','8000000000000001',3,'admitted',0,'door lock','Acme','[]',1.5,2.5,1);
INSERT INTO "device" VALUES('washer',2,'site','Washing machine',NULL,'[]',NULL,NULL,'new',0,'','','[]',0.0,0.0,0);
CREATE TABLE relationship (
    client TEXT NOT NULL,
    server TEXT NOT NULL,
    protocol TEXT NOT NULL,
    operation TEXT NOT NULL,
    resource TEXT NOT NULL,
    status TEXT NOT NULL,
    reason TEXT NOT NULL,
    transport TEXT NOT NULL,
    port INTEGER NOT NULL,
    verb TEXT NOT NULL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    allowed INTEGER NOT NULL,
    refused INTEGER NOT NULL,
    decision INTEGER,
    until REAL,
    once INTEGER NOT NULL,
    PRIMARY KEY (client, server, protocol, operation, resource)
) STRICT, WITHOUT ROWID;
INSERT INTO "relationship" VALUES('washer/main','lock/tcp-80','http','write','/open','denied','new partner','tcp',80,'PUT',10.0,20.0,0,3,1,NULL,0);
CREATE TABLE service (
    id TEXT PRIMARY KEY,
    device TEXT NOT NULL REFERENCES device (id) DEFERRABLE INITIALLY DEFERRED,
    own_name TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    endpoints TEXT NOT NULL,           -- JSON list such as ["tcp-80"]
    learning INTEGER NOT NULL,
    learning_since REAL,
    last_new REAL,
    first_seen REAL NOT NULL,
    last_seen REAL NOT NULL,
    named_by_manager INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "service" VALUES('lock/tcp-80','lock','tcp-80','Web page','','','["tcp-80"]',1,5.0,NULL,0.0,0.0,0);
INSERT INTO "service" VALUES('washer/main','washer','main','Washing machine','','','[]',0,NULL,NULL,0.0,0.0,0);
CREATE TRIGGER audit_keeps_lines BEFORE DELETE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps_words BEFORE UPDATE ON audit
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
CREATE TRIGGER audit_keeps_numbers BEFORE INSERT ON audit
WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
BEGIN SELECT raise(ABORT, 'the audit log is append-only'); END;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('audit',1);
COMMIT;
