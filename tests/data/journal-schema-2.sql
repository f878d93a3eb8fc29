-- A journal as it was written with schema version 2, before marks, rolls and rollbacks.
BEGIN TRANSACTION;
CREATE TABLE decisions (
	pool TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	at FLOAT NOT NULL, 
	want INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	"plan" TEXT NOT NULL, 
	PRIMARY KEY (pool, number)
);
INSERT INTO "decisions" VALUES('chat',7,1789999940.0,4,'{"pool":"chat","number":7,"at":1789999940.0,"current":3,"want":4,"ready":3,"pending":0,"reasons":[{"source":"rule:load","replicas":4,"text":"load is 40"}],"proposals":[],"readings":{},"judged":[],"verdicts":[],"recommended":0,"burst":null,"idle_since":null,"commanded":false,"blind":false,"rules_hash":"0123456789abcdef","versions":{},"next_change_at":null}','{"pool":"chat","decision":7,"actions":[{"id":"launch-1","pool":"chat","at":1789999940.0,"valid_until":1790000240.0,"offer":{"provider":"sim","type":"small","region":"","zone":"","purchase":"on_demand","replicas":1,"usd_per_hour":2.0,"lead_time_s":360.0,"settings":[]},"attempt":1,"into":"serving","kind":"launch"}],"reasons":[{"source":"launch","replicas":4,"text":"launch sim/small/on_demand"}]}');
CREATE TABLE intents (
	seq INTEGER NOT NULL, 
	id TEXT NOT NULL, 
	pool TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	decision INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	open BOOLEAN NOT NULL, 
	PRIMARY KEY (seq), 
	UNIQUE (id)
);
INSERT INTO "intents" VALUES(1,'launch-1','chat',1789999940.0,7,'{"id":"launch-1","pool":"chat","at":1789999940.0,"valid_until":1790000240.0,"offer":{"provider":"sim","type":"small","region":"","zone":"","purchase":"on_demand","replicas":1,"usd_per_hour":2.0,"lead_time_s":360.0,"settings":[]},"attempt":1,"into":"serving","kind":"launch"}',1);
CREATE TABLE learned (
	seq INTEGER NOT NULL, 
	pool TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	"key" TEXT NOT NULL, 
	version TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "learned" VALUES(1,'chat','outlook','ahead','v1',1790000000.0,'{"n": 1}');
CREATE TABLE memories (
	pool TEXT NOT NULL, 
	number INTEGER NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (pool)
);
INSERT INTO "memories" VALUES('chat',7,'{"number":7,"want":4,"last_at":1789999940.0,"watched_since":1789996000.0,"highs":[],"lows":[],"changes":[],"met_since":{},"cooldown_until":{},"asked":{},"burst":null,"shortages":{},"refusals":{},"launched_at":null,"launches":[],"idle_since":null,"withheld":null,"alerts":{},"risk":null}');
CREATE TABLE meta (
	version INTEGER NOT NULL
);
INSERT INTO "meta" VALUES(2);
CREATE TABLE outcomes (
	seq INTEGER NOT NULL, 
	action TEXT NOT NULL, 
	pool TEXT NOT NULL, 
	at FLOAT NOT NULL, 
	status TEXT NOT NULL, 
	body TEXT NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "outcomes" VALUES(1,'launch-0','chat',1789999940.0,'done','{"action":"launch-0","pool":"chat","status":"done","at":1789999940.0,"instance":"chat-1","error":"","text":"","retry_after_s":null,"continuation":null}');
CREATE TABLE overrides (
	seq INTEGER NOT NULL, 
	pool TEXT NOT NULL, 
	id TEXT NOT NULL, 
	body TEXT NOT NULL, 
	ended_at FLOAT, 
	ended_by TEXT, 
	why TEXT, 
	PRIMARY KEY (seq)
);
INSERT INTO "overrides" VALUES(1,'chat','event','{"id":"event","pool":"chat","kind":"floor","until":1790003600.0,"author":"ada","reason":"launch event","replicas":4,"direction":"both","created_at":1789999910.0}',NULL,NULL,NULL);
CREATE INDEX open_intents ON intents (seq) WHERE open;
CREATE INDEX ix_outcomes_pool ON outcomes (pool);
CREATE INDEX learned_by_key ON learned (pool, kind, "key", seq);
COMMIT;
