#!/bin/sh
# Makes the keys that the parts share, each 256 random bits, and the two files that you fill in. What exists stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in gateway_key cookie_secret link_key ray_token; do
  [ -e "secrets/$name" ] || python3 -c "import secrets; print(secrets.token_urlsafe(32), end='')" > "secrets/$name"
done
# url: may do everything in its database; reader_url: may only read (the scaling policy looks at the queue).
[ -e secrets/database.env ] || printf 'url=\nreader_url=\n' > secrets/database.env
# Leave them empty where the machines have a role of their own (AWS).
[ -e secrets/store.env ] || printf 'access_key=\nsecret_key=\n' > secrets/store.env
