"""What contenders are called, in results and goals alike, and what they keep."""

JOB = "trigflow, job with one task"
MOUNTED = "trigflow mounted in FastAPI, the same job"
BARE = "bare uvicorn + HMAC"
FASTAPI = "FastAPI by hand"
GIDGETHUB = "gidgethub on aiohttp"
INSERT = "FastAPI + INSERT per request"
CELERY = "Celery + Redis"
DBOS_POSTGRES = "DBOS + PostgreSQL"

NOTHING = "nothing"
FULL = "SQLite, synced at each commit"
SYNCED = "PostgreSQL, synced at each commit"
