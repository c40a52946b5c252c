#!/usr/bin/env bash
# Makes the development environment on a bare Debian machine: install-dev.sh PYTHON VENV
#
# GDAL's Python binding comes from Debian, for no registry has one that fits Debian's GDAL; hence
# Debian's Python and its packages in the virtual environment. EOxServer's metadata pins a GDAL that
# no distribution has, hence --no-deps; the extra "instance" lists what it needs.
set -euo pipefail
python=$1 venv=$2

packages=(python3-venv python3-gdal python3-numpy python3-psycopg2 gdal-bin libsqlite3-mod-spatialite)
# A test of the charts starts a PostgreSQL with PostGIS of its own.
packages+=(postgresql postgresql-postgis)
# The pipeline's page is driven in a real browser; fonts come along only if they are asked for.
packages+=(chromium chromium-driver fonts-dejavu-core)
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]})); then
  echo "installing Debian packages: ${missing[*]}"
  apt=(apt-get -o DPkg::Lock::Timeout=600 -qq)
  "${apt[@]}" update
  DEBIAN_FRONTEND=noninteractive "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
fi

[ -x "$venv/bin/python" ] || "$python" -m venv --system-site-packages "$venv"
"$venv/bin/python" -m pip install --quiet --upgrade 'uv>=0.9,<1'
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --editable '.[dev]'
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps 'EOxServer>=1.5.5,<1.6'
