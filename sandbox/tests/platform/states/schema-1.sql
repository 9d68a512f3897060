-- What a sandbox of the schema before version 2 left in platform.sqlite after a run, when it was stopped.
-- (iterdump of Python's sqlite3; the secrets in it are those of AWS's documentation.)
BEGIN TRANSACTION;
CREATE TABLE artifact (
	id VARCHAR(24) NOT NULL, 
	run_id VARCHAR(24) NOT NULL, 
	type VARCHAR NOT NULL, 
	file_name VARCHAR NOT NULL, 
	uploaded BOOLEAN NOT NULL, 
	created_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (run_id, file_name), 
	FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "artifact" VALUES('f1bb68b5b32978cedbadaa6d','0b6c46ecf3afee7bceb4960e','REPORT_V2_JSON','report_v2.json',1,1795372950635);
INSERT INTO "artifact" VALUES('0ff13ed84eb077e1f88e74d9','0b6c46ecf3afee7bceb4960e','LOG','log.txt',1,1795372950849);
CREATE TABLE dataset (
	name VARCHAR NOT NULL, 
	type VARCHAR NOT NULL, 
	img_type VARCHAR, 
	parent_id VARCHAR, 
	processed_until_seconds INTEGER NOT NULL, 
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (user_id, name)
);
INSERT INTO "dataset" VALUES('made by the older version','Images','full',NULL,1795372949,'2fd1581723693c04edbc64df','sandbox|user',1795372948415,1795372950151);
CREATE TABLE datasource (
	id VARCHAR(24) NOT NULL, 
	dataset_id VARCHAR(24) NOT NULL, 
	purpose VARCHAR NOT NULL, 
	config JSON NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dataset_id, purpose), 
	FOREIGN KEY(dataset_id) REFERENCES dataset (id) ON DELETE CASCADE
);
INSERT INTO "datasource" VALUES('862e3d312dee999a3481a569','2fd1581723693c04edbc64df','INPUT','{"purpose": "INPUT", "type": "S3", "fullPath": "s3://raw-bucket/raw/", "s3Region": "eu-central-1", "s3AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "s3SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}',1795372948456);
INSERT INTO "datasource" VALUES('cde4b85f2cdc7c6dd90f0ce6','2fd1581723693c04edbc64df','LIGHTLY','{"purpose": "LIGHTLY", "type": "S3", "fullPath": "s3://raw-bucket/lightly/", "s3Region": "eu-central-1", "s3AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "s3SecretAccessKey": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"}',1795372948547);
CREATE TABLE run (
	docker_version VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	dataset_id VARCHAR, 
	config_id VARCHAR, 
	scheduled_id VARCHAR, 
	message VARCHAR, 
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (scheduled_id)
);
INSERT INTO "run" VALUES('lightly-sandbox-0.1.0','COMPLETED','2fd1581723693c04edbc64df','b06dca84f3f02138450a7213','145c10b16f911fc044074bd8','selected 2 of 5 images into the tag ''initial-tag''','0b6c46ecf3afee7bceb4960e','sandbox|user',1795372948803,1795372951049);
CREATE TABLE run_log (
	number INTEGER NOT NULL, 
	run_id VARCHAR(24) NOT NULL, 
	entry JSON NOT NULL, 
	PRIMARY KEY (number), 
	FOREIGN KEY(run_id) REFERENCES run (id) ON DELETE CASCADE
);
INSERT INTO "run_log" VALUES(1,'0b6c46ecf3afee7bceb4960e','{"state": "INITIALIZING", "ts": 1795372948867, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "reading the worker config"}');
INSERT INTO "run_log" VALUES(2,'0b6c46ecf3afee7bceb4960e','{"state": "LOADING_DATASET", "ts": 1795372949075, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "listing the files in the datasource"}');
INSERT INTO "run_log" VALUES(3,'0b6c46ecf3afee7bceb4960e','{"state": "CHECKING_CORRUPTNESS", "ts": 1795372949316, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "reading 5 new files and 0 of the datapool"}');
INSERT INTO "run_log" VALUES(4,'0b6c46ecf3afee7bceb4960e','{"state": "COMPUTING_METADATA", "ts": 1795372949867, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "measuring and embedding 5 images"}');
INSERT INTO "run_log" VALUES(5,'0b6c46ecf3afee7bceb4960e','{"state": "EMBEDDING", "ts": 1795372949983, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "collecting 5 embeddings"}');
INSERT INTO "run_log" VALUES(6,'0b6c46ecf3afee7bceb4960e','{"state": "SAMPLING", "ts": 1795372950039, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "selecting from 5 images with 0 selected before"}');
INSERT INTO "run_log" VALUES(7,'0b6c46ecf3afee7bceb4960e','{"state": "SAMPLING", "ts": 1795372950059, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "selected 2 of 5 images"}');
INSERT INTO "run_log" VALUES(8,'0b6c46ecf3afee7bceb4960e','{"state": "UPLOADING_DATASET", "ts": 1795372950093, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "adding 2 samples to the dataset"}');
INSERT INTO "run_log" VALUES(9,'0b6c46ecf3afee7bceb4960e','{"state": "GENERATING_REPORT", "ts": 1795372950321, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "writing the report"}');
INSERT INTO "run_log" VALUES(10,'0b6c46ecf3afee7bceb4960e','{"state": "UPLOADING_REPORT", "ts": 1795372950592, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "uploading the report"}');
INSERT INTO "run_log" VALUES(11,'0b6c46ecf3afee7bceb4960e','{"state": "UPLOADED_REPORT", "ts": 1795372950802, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "the report is uploaded"}');
INSERT INTO "run_log" VALUES(12,'0b6c46ecf3afee7bceb4960e','{"state": "UPLOADING_ARTIFACTS", "ts": 1795372950832, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "uploading the log"}');
INSERT INTO "run_log" VALUES(13,'0b6c46ecf3afee7bceb4960e','{"state": "UPLOADED_ARTIFACTS", "ts": 1795372950971, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "the log is uploaded"}');
INSERT INTO "run_log" VALUES(14,'0b6c46ecf3afee7bceb4960e','{"state": "COMPLETED", "ts": 1795372951044, "level": "INFO", "group": "run", "origin": "lightly_sandbox.worker", "msg": "selected 2 of 5 images into the tag ''initial-tag''"}');
CREATE TABLE sample (
	id VARCHAR(24) NOT NULL, 
	dataset_id VARCHAR(24) NOT NULL, 
	file_name VARCHAR NOT NULL, 
	position INTEGER NOT NULL, 
	type VARCHAR NOT NULL, 
	details JSON NOT NULL, 
	size_in_bytes INTEGER NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dataset_id, file_name), 
	UNIQUE (dataset_id, position), 
	FOREIGN KEY(dataset_id) REFERENCES dataset (id) ON DELETE CASCADE
);
INSERT INTO "sample" VALUES('9e23ce84744c335f24ed62f7','2fd1581723693c04edbc64df','astronaut/frame_0000.jpg',0,'IMAGE','{"metaData": {"sharpness": 24.79294776916504, "luminance": 54.42525020424838, "sizeInBytes": 16846, "snr": 1.9980934400312123, "uniformRowRatio": 0.0, "mean": [0.615327410130719, 0.5210642361111111, 0.4766044219771242], "shape": [240, 320, 3], "std": [0.2773730537003115, 0.2786127218165555, 0.2948459768027276]}}',16846,1795372950115,1795372950115);
INSERT INTO "sample" VALUES('47b6297914eda906daf05191','2fd1581723693c04edbc64df','rocket/frame_0000.jpg',1,'IMAGE','{"metaData": {"sharpness": 11.649515151977539, "luminance": 24.12790543300654, "sizeInBytes": 5915, "snr": 2.637730366811392, "uniformRowRatio": 0.0, "mean": [0.18913500816993464, 0.24514792687908496, 0.3590395220588235], "shape": [240, 320, 3], "std": [0.10140030195607042, 0.09085431742494691, 0.08504500873405275]}}',5915,1795372950151,1795372950151);
CREATE TABLE scheduled_run (
	dataset_id VARCHAR(24) NOT NULL, 
	config_id VARCHAR NOT NULL, 
	priority VARCHAR NOT NULL, 
	runs_on JSON NOT NULL, 
	state VARCHAR NOT NULL, 
	worker_id VARCHAR, 
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	FOREIGN KEY(dataset_id) REFERENCES dataset (id) ON DELETE CASCADE
);
INSERT INTO "scheduled_run" VALUES('2fd1581723693c04edbc64df','b06dca84f3f02138450a7213','MID','[]','DONE','da886e8821d4af37efe1c649','145c10b16f911fc044074bd8','sandbox|user',1795372948649,1795372951063);
INSERT INTO "scheduled_run" VALUES('2fd1581723693c04edbc64df','b06dca84f3f02138450a7213','LOW','["nobody"]','OPEN',NULL,'ac30832a867a60b68a1f4f05','sandbox|user',1795372952269,1795372952269);
CREATE TABLE shared_access (
	dataset_id VARCHAR(24) NOT NULL, 
	access_type VARCHAR NOT NULL, 
	users JSON NOT NULL, 
	teams JSON NOT NULL, 
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dataset_id, access_type), 
	FOREIGN KEY(dataset_id) REFERENCES dataset (id) ON DELETE CASCADE
);
CREATE TABLE tag (
	id VARCHAR(24) NOT NULL, 
	dataset_id VARCHAR(24) NOT NULL, 
	name VARCHAR NOT NULL, 
	prev_tag_id VARCHAR, 
	query_tag_id VARCHAR, 
	preselected_tag_id VARCHAR, 
	bit_mask VARCHAR NOT NULL, 
	tot_size INTEGER NOT NULL, 
	run_id VARCHAR, 
	changes JSON NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (dataset_id, name), 
	FOREIGN KEY(dataset_id) REFERENCES dataset (id) ON DELETE CASCADE
);
INSERT INTO "tag" VALUES('ac87d7139f32b9cd90119299','2fd1581723693c04edbc64df','initial-tag',NULL,NULL,NULL,'0x3',2,'0b6c46ecf3afee7bceb4960e','[]',1795372950281,1795372950281);
CREATE TABLE user (
	id VARCHAR NOT NULL, 
	email VARCHAR NOT NULL, 
	team VARCHAR, 
	token_digest VARCHAR NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (email), 
	UNIQUE (token_digest)
);
INSERT INTO "user" VALUES('sandbox|817ef86f3ea6','ann@example.com','a-team','1c936ecc61bcf18be4fbb4f08ed2ec0e8c794c35770e7b3f3fc89ef5ff0cd8cb');
CREATE TABLE worker (
	name VARCHAR NOT NULL, 
	worker_type VARCHAR NOT NULL, 
	state VARCHAR NOT NULL, 
	labels JSON NOT NULL, 
	is_default BOOLEAN NOT NULL, 
	docker_version VARCHAR, 
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	last_modified_at INTEGER NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (user_id, name)
);
INSERT INTO "worker" VALUES('sandbox-worker-1','FULL','OFFLINE','[]',0,'lightly-sandbox-0.1.0','da886e8821d4af37efe1c649','sandbox|user',1795372941805,1795372952309);
CREATE TABLE worker_config (
	id VARCHAR(24) NOT NULL, 
	user_id VARCHAR NOT NULL, 
	created_at INTEGER NOT NULL, 
	config JSON NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "worker_config" VALUES('b06dca84f3f02138450a7213','sandbox|user',1795372948592,'{"workerType": "FULL", "docker": {"useDatapool": true}, "selection": {"nSamples": 2, "strategies": [{"input": {"type": "EMBEDDINGS"}, "strategy": {"type": "DIVERSITY"}}]}}');
CREATE INDEX ix_dataset_user_created ON dataset (user_id, created_at, id);
CREATE INDEX ix_dataset_parent_id ON dataset (parent_id);
CREATE INDEX ix_user_team ON user (team);
CREATE INDEX ix_run_state ON run (state);
CREATE INDEX ix_run_dataset_created ON run (dataset_id, created_at DESC, id);
CREATE INDEX ix_run_user_created ON run (user_id, created_at DESC, id);
CREATE INDEX ix_scheduled_run_worker_id ON scheduled_run (worker_id);
CREATE INDEX ix_scheduled_run_state ON scheduled_run (state);
CREATE INDEX ix_scheduled_run_dataset_state ON scheduled_run (dataset_id, state);
CREATE INDEX ix_scheduled_run_user_state ON scheduled_run (user_id, state);
CREATE INDEX ix_run_log_run ON run_log (run_id, number);
CREATE INDEX ix_sample_dataset_size ON sample (dataset_id, size_in_bytes);
CREATE INDEX ix_sample_dataset_id ON sample (dataset_id, id);
CREATE INDEX ix_tag_run_id ON tag (run_id);
CREATE INDEX ix_tag_prev_tag_id ON tag (prev_tag_id);
COMMIT;
