#!/usr/bin/env bash
# Takes the README's picture of the report with headless Chromium: picture.sh REPORT.html PICTURE.png [LIGHT|DARK] [WIDTH] [HEIGHT]
set -euo pipefail
report=$(realpath "$1") picture=$(realpath "$2") scheme=${3:-light} width=${4:-1000} height=${5:-1250}
profile=$(mktemp -d)
trap 'rm -rf "$profile"' EXIT
dark=()
[ "$scheme" = dark ] && dark=(--blink-settings=preferredColorScheme=0)
# Chromium takes no window narrower than 500 pixels; a narrow page is drawn inside a frame of its width.
page="file://$report"
if [ "$width" -lt 500 ]; then
    printf '<body style="margin:0"><iframe style="border:0;width:%spx;height:%spx" src="%s"></iframe>' \
        "$width" "$height" "$page" > "$profile/frame.html"
    page="file://$profile/frame.html"
fi
"${CHROMIUM:-chromium}" --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --hide-scrollbars \
    --user-data-dir="$profile" "${dark[@]}" --window-size="$width,$height" \
    --screenshot="$picture" "$page" 2> "$profile/log" || { cat "$profile/log" >&2; exit 1; }
