#!/bin/sh
# Writes the secrets of compose.yaml into a folder; existing ones stay. Run it as root, because it changes owners.
#   deploy/make_secrets.sh [FOLDER]   # default: deploy/secrets
set -eu
umask 077
folder=${1:-$(dirname "$0")/secrets}
mkdir -p "$folder"
cd "$folder"
if [ ! -e postgres-password ]; then
  openssl rand -hex 24 >postgres-password
  printf 'postgres:5432:dejavu:dejavu:%s\n' "$(cat postgres-password)" >pgpass
fi
if [ ! -e signing-key.pem ]; then openssl genpkey -algorithm ed25519 -out signing-key.pem; fi
if [ ! -e cache-secret ]; then openssl rand -hex 24 >cache-secret; fi
# Owned by the users of the images, ours and PostgreSQL's; libpq and the server refuse files that others can read.
chown 10001:10001 pgpass signing-key.pem cache-secret
chown 999:999 postgres-password
chmod 0400 pgpass signing-key.pem cache-secret postgres-password
