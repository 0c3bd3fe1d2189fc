-- What people set up and services remember. Tenants and names are bytes, so that no text is too strange and their order is
-- that of code points (`convert_from(name, 'UTF8')` shows one); kind, tenant and name together are longer than an index
-- allows, so that digests find them.

CREATE TABLE catalog (
    place bytea PRIMARY KEY,              -- digest of kind, tenant and name
    of_tenant bytea NOT NULL,             -- digest of kind and tenant
    of_kind bytea NOT NULL,               -- digest of kind
    kind text COLLATE "C" NOT NULL,
    tenant bytea NOT NULL,
    name bytea NOT NULL,
    revision bigint NOT NULL,
    due double precision,
    body bytea,                           -- null: removed, its revision being remembered for a while
    removed double precision              -- when
);
CREATE INDEX ON catalog (of_tenant, name) WHERE body IS NOT NULL;
CREATE INDEX ON catalog (of_kind, name) WHERE body IS NOT NULL;
CREATE INDEX ON catalog (of_kind, due) WHERE body IS NOT NULL AND due IS NOT NULL;
CREATE INDEX ON catalog (removed) WHERE removed IS NOT NULL;
