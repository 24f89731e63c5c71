#!/usr/bin/env bash
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Makes a self-signed certificate, for trials: production/make_certificate.sh [HOST ...]
# It goes into TLS_DIR (production/tls); an existing one is left alone unless FORCE=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=${TLS_DIR:-production/tls}
gateway_user=10001 # of gateway/Dockerfile

command -v openssl > /dev/null || { echo "openssl is needed: install it first" >&2; exit 2; }
if [ -e "$folder/privkey.pem" ] && [ "${FORCE:-0}" != 1 ]; then
  echo "$folder has a certificate already; FORCE=1 replaces it"
  exit 0
fi
hosts=(localhost "$@")
names=$(printf 'DNS:%s,' "${hosts[@]}")IP:127.0.0.1
mkdir -p "$folder"
umask 077
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 \
  -subj "/CN=${hosts[${#hosts[@]} - 1]}" -addext "subjectAltName=$names" \
  -keyout "$folder/privkey.pem" -out "$folder/fullchain.pem" 2> /dev/null
chmod 644 "$folder/fullchain.pem"
if ! chown "$gateway_user" "$folder/privkey.pem" 2> /dev/null; then
  chmod 644 "$folder/privkey.pem"
  echo "note: without root the key cannot be given to the gateway's user; it is readable by all"
fi
chmod 755 "$folder"
echo "self-signed certificate for ${hosts[*]} in $folder, valid for 90 days"
