#!/usr/bin/env bash
# The manual is sound mdoc, by mandoc's own judgement.
# Usage: manual.sh SOURCE_ROOT
set -eu

if ! command -v mandoc >/dev/null; then
	echo "SKIP manual: mandoc is not installed (tools/setup --tests installs it)"
	exit 77
fi
# Whether this host's database has a manual that ours refers to says nothing about ours.
! mandoc -T lint "$1/docs/bifold.1" | grep -v 'STYLE: referenced manual not found' | grep .
