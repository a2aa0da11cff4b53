-- Who may get in: agencies, users and their passwords, API keys, refresh tokens, one-time links, failed logins.
-- Secrets are stored as hashes. The application role reads none of them: whoever logs in is looked up before the
-- agency is known, by the system role, so what only a login needs is the system role's alone.

CREATE TABLE agencies (
    agency_id  uuid PRIMARY KEY,
    name       text NOT NULL,
    created_at timestamptz NOT NULL
);
COMMENT ON COLUMN agencies.agency_id IS 'Named like everywhere else, so that row security covers this table as well.';
SELECT protect_tenant_table('agencies');
REVOKE INSERT, UPDATE ON agencies FROM {{app}};
-- What locks the row, so that an agency's last admin is not removed twice at once, needs a right to update it.
GRANT UPDATE (name) ON agencies TO {{app}};

CREATE TABLE users (
    id               uuid PRIMARY KEY,
    agency_id        uuid REFERENCES agencies,
    email            text NOT NULL,
    email_normalised text NOT NULL,
    roles            text[] NOT NULL
        CHECK (cardinality(roles) > 0 AND roles <@ ARRAY['admin', 'manager', 'staff', 'owner', 'platform']),
    property_ids     uuid[] CHECK (cardinality(property_ids) > 0),
    active           boolean NOT NULL DEFAULT true,
    created_at       timestamptz NOT NULL,
    updated_at       timestamptz NOT NULL,
    accepted_at      timestamptz,
    last_login_at    timestamptz,
    CHECK ((agency_id IS NULL) = ('platform' = ANY (roles)))
);
COMMENT ON COLUMN users.property_ids IS 'The only properties the user may touch; null is all of the agency.';
COMMENT ON COLUMN users.accepted_at IS 'When the user first set a password; null while invited.';
CREATE UNIQUE INDEX users_email_of_agency ON users (agency_id, email_normalised);
CREATE UNIQUE INDEX users_email_of_platform ON users (email_normalised) WHERE agency_id IS NULL;
CREATE INDEX users_email ON users (email_normalised);
CREATE INDEX users_newest ON users (agency_id, created_at DESC, id DESC);
SELECT protect_tenant_table('users');

CREATE TABLE credentials (
    user_id       uuid PRIMARY KEY REFERENCES users,
    agency_id     uuid,
    password_hash text NOT NULL,
    changed_at    timestamptz NOT NULL
);
SELECT protect_tenant_table('credentials');
REVOKE ALL ON credentials FROM {{app}};

CREATE TABLE api_keys (
    id           uuid PRIMARY KEY,
    agency_id    uuid NOT NULL REFERENCES agencies,
    name         text NOT NULL,
    prefix       text NOT NULL UNIQUE,
    secret_hash  bytea NOT NULL,
    roles        text[] NOT NULL CHECK (cardinality(roles) > 0 AND roles <@ ARRAY['admin', 'manager', 'staff', 'owner']),
    property_ids uuid[] CHECK (cardinality(property_ids) > 0),
    created_by   uuid REFERENCES users,
    created_at   timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    last_used_at timestamptz
);
COMMENT ON COLUMN api_keys.secret_hash IS 'SHA-256: the secret is 256 random bits, nothing to guess.';
COMMENT ON COLUMN api_keys.created_by IS 'Its rights are capped by this user''s, now; null when an operator made it.';
CREATE INDEX api_keys_newest ON api_keys (agency_id, created_at DESC, id DESC);
SELECT protect_tenant_table('api_keys');
REVOKE SELECT, UPDATE ON api_keys FROM {{app}};
GRANT SELECT (id, agency_id, name, prefix, roles, property_ids, created_by, created_at, expires_at, revoked_at,
              last_used_at), UPDATE (revoked_at) ON api_keys TO {{app}};

CREATE TABLE refresh_tokens (
    family_id  uuid PRIMARY KEY,
    agency_id  uuid,
    user_id    uuid NOT NULL REFERENCES users,
    token_hash bytea NOT NULL,
    started_at timestamptz NOT NULL,
    rotated_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
COMMENT ON TABLE refresh_tokens IS 'A row per login with its one valid token; any other token of the family is a reuse.';
CREATE INDEX refresh_tokens_of_user ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);
SELECT protect_tenant_table('refresh_tokens');
REVOKE ALL ON refresh_tokens FROM {{app}};
GRANT SELECT (agency_id, user_id, revoked_at), UPDATE (revoked_at) ON refresh_tokens TO {{app}};

CREATE TABLE one_time_links (
    token_hash bytea PRIMARY KEY,
    agency_id  uuid,
    user_id    uuid NOT NULL REFERENCES users,
    purpose    text NOT NULL CHECK (purpose IN ('invitation', 'password_reset')),
    created_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);
COMMENT ON COLUMN one_time_links.used_at IS 'When it was used, or replaced by a newer link.';
CREATE INDEX one_time_links_of_user ON one_time_links (user_id);
CREATE INDEX one_time_links_expires_at ON one_time_links (expires_at);
SELECT protect_tenant_table('one_time_links');
REVOKE ALL ON one_time_links FROM {{app}};
GRANT INSERT ON one_time_links TO {{app}};

CREATE TABLE login_failures (
    email_hash   bytea PRIMARY KEY,
    failures     integer NOT NULL,
    last_at      timestamptz,
    locked_until timestamptz
);
COMMENT ON TABLE login_failures IS 'By hash of the e-mail, whether or not anyone has it: both are locked alike.';
CREATE INDEX login_failures_last_at ON login_failures (last_at);
GRANT SELECT, INSERT, UPDATE ON login_failures TO {{system}};

GRANT DELETE ON refresh_tokens, one_time_links, login_failures TO {{system}};
