#!/bin/sh
# SPDX-License-Identifier: AGPL-3.0-only OR LicenseRef-Linkora-Commercial
# Fills the limits into nginx.conf and starts nginx with it, or lets the running one read it again
# if it or the certificate has changed (`start.sh reload`: connections go on). The container's root
# file system is read-only: what is written is in /tmp.
set -eu

for name in EDGE_REQUESTS_PER_S EDGE_BURST EDGE_CONNECTIONS EDGE_HSTS_S; do
  eval "value=\$$name"
  case $value in
    '' | *[!0-9]*) echo "wrong setting $name=$value: allowed are whole numbers" >&2; exit 2 ;;
  esac
done
for file in fullchain.pem privkey.pem; do
  [ -r "/tls/$file" ] || {
    echo "/tls/$file cannot be read by user $(id -u): put the certificate into TLS_DIR" \
      "(for a trial: production/make_certificate.sh)" >&2
    exit 2
  }
done
sed -e "s/@REQUESTS_PER_S@/$EDGE_REQUESTS_PER_S/" \
  -e "s/@BURST@/$EDGE_BURST/" \
  -e "s/@CONNECTIONS@/$EDGE_CONNECTIONS/" \
  -e "s/@HSTS_S@/$EDGE_HSTS_S/" \
  /production/nginx.conf > /tmp/nginx.new
# nginx before 1.27.4 does not know this one.
if nginx -q -t -c /tmp/nginx.new 2>&1 | grep -q 'unknown directive "keepalive_min_timeout"'; then
  sed -i /keepalive_min_timeout/d /tmp/nginx.new
fi
nginx -q -t -c /tmp/nginx.new
cat /tmp/nginx.new /tls/fullchain.pem /tls/privkey.pem | sha256sum > /tmp/read.new
if [ "${1:-}" = reload ] && cmp -s /tmp/read.new /tmp/read; then
  echo "nothing has changed since nginx read it last"
  exit 0
fi
mv /tmp/nginx.new /tmp/nginx.conf
if [ "${1:-}" = reload ]; then
  nginx -q -c /tmp/nginx.conf -s reload
  mv /tmp/read.new /tmp/read # only now: what failed is tried again
  exit 0
fi
mv /tmp/read.new /tmp/read
exec nginx -c /tmp/nginx.conf -g 'daemon off;'
