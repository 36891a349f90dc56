#!/bin/sh
# Makes the keys that the parts share, each 256 random bits, and the three files that you fill in. What exists stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
for name in gateway_key cookie_secret link_key seal_key signing_key ray_token; do
  [ -e "secrets/$name" ] || python3 -c "import secrets; print(secrets.token_urlsafe(32), end='')" > "secrets/$name"
done
# One address for each part, each with a login of its own; docs/operators.md says how they come to be.
[ -e secrets/database.env ] ||
  printf 'owner_url=\napp_url=\nworker_url=\nbilling_url=\nscaler_url=\n' > secrets/database.env
# Leave them empty where the machines have a role of their own (AWS).
[ -e secrets/store.env ] || printf 'access_key=\nsecret_key=\n' > secrets/store.env
# Payments, other sign-ins, letters: take the # away from what you use. Without them payments are off, and letters stay in
# the worker's var/mail, where nobody reads them.
[ -e secrets/outside.env ] ||
  printf '#stripe_api_key=\n#stripe_webhook_secrets=[]\n#oidc=[]\n#smtp_url=\n' > secrets/outside.env
