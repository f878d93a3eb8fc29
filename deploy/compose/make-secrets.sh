#!/bin/sh
# Makes the secrets that docker-compose.yml takes from files: make-secrets.sh [FOLDER]. What is there already is kept.
#
#   tokens           who may do what, as digests: the service reads it
#   admin-token      for you:      SIGMASCALE_TOKEN=$(cat deploy/compose/secrets/admin-token) sigmascale explain
#   viewer-token     for Prometheus and the gateway of the demo
#   grafana-password for the user admin of Grafana
set -eu
folder=${1:-$(dirname "$0")/secrets}
group=${SIGMASCALE_GID:-10001}
umask 027
mkdir -p "$folder"
cd "$folder"

random() { od -An -N32 -tx1 /dev/urandom | tr -d ' \n'; }
for name in admin-token viewer-token grafana-password; do
  [ -s "$name" ] || random >"$name"
done
digest() { sha256sum <"$1" | cut -d' ' -f1; }
{
  echo "admin sha256:$(digest admin-token) admin"
  echo "viewer sha256:$(digest viewer-token) prometheus"
} >tokens

# Containers run as other users than you; they read these files through their group.
if ! chgrp "$group" . tokens viewer-token grafana-password 2>/dev/null; then
  echo "the containers cannot read the secrets yet; run: sudo chgrp $group '$PWD' '$PWD'/tokens '$PWD'/viewer-token '$PWD'/grafana-password" >&2
fi
chmod 750 .
chmod 640 tokens viewer-token grafana-password
chmod 600 admin-token
echo "$PWD: tokens, admin-token, viewer-token, grafana-password"
