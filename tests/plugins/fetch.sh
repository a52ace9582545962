#!/usr/bin/env bash
# Fetches VST3 plugins that other people wrote into tests/plugins/packages, from Debian's packages, without root.
#
#   bash tests/plugins/fetch.sh          Dragonfly's and Zam's: what the suite plays
#   bash tests/plugins/fetch.sh --all    also DPF's, LSP's and Steinberg's, which want a newer system than most
#
# apt gets a root of its own in a temporary folder: nothing of the system is read but where its packages come from,
# and nothing is changed. Ends with 1, and says why, where there is no apt, no source or no network.
set -uo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$here/packages
apt_folder=${APT_FOLDER:-/etc/apt}
suite=trixie
packages=(dragonfly-reverb-vst3 zam-plugins)
case ${1:-} in
"") ;;
--all) packages+=(dpf-plugins-vst3 lsp-plugins-vst3 vst3sdk-plugins) ;;
*) echo "fetch.sh: unknown word $1; --all is the only one" >&2 && exit 2 ;;
esac

give_up() {
  echo "fetch.sh: $1; tests of other people's plugins will be skipped" >&2
  exit 1
}

missing=()
for package in "${packages[@]}"; do [ -e "$out/.$package" ] || missing+=("$package"); done
[ ${#missing[@]} -gt 0 ] || exit 0
[ "$(uname -s)" = Linux ] || give_up "packages are fetched on Linux only; this is $(uname -s)"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || give_up "no apt here"

# The machine's own source, with another suite: the first that serves the release this system is of.
codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
[ -n "$codename" ] || give_up "this system does not say which release it is"

# From paragraphs of KEY: VALUE, the one with suite CODENAME; comments and disabled ones left out.
from_paragraphs() {
  sed 's/^[[:space:]]*#.*$/#/; /^#$/d' "$1" | awk -v RS= -v codename="$codename" -v suite="$suite" '
    tolower($0) ~ /(^|\n)enabled:[ \t]*no/ { next }
    {
      n = split($0, lines, "\n"); found = 0; text = ""
      for (i = 1; i <= n; i++) {
        if (tolower(lines[i]) ~ /^suites:/) {
          m = split(substr(lines[i], 8), words, /[ \t]+/)
          for (j = 1; j <= m; j++) if (words[j] == codename) found = 1
          lines[i] = "Suites: " suite
        } else if (tolower(lines[i]) ~ /^types:/) lines[i] = "Types: deb"
        text = text lines[i] "\n"
      }
      if (found) { printf "%s", text; exit }
    }'
}

# From lines of deb [OPTIONS] PLACE SUITE COMPONENTS.
from_lines() {
  awk -v codename="$codename" -v suite="$suite" '
    $1 == "deb" {
      at = 2
      if ($2 ~ /^\[/) while ($at !~ /\]$/ && at < NF) at++
      if ($2 ~ /^\[/) at++
      if ($(at + 1) != codename) next
      $(at + 1) = suite
      print; exit
    }' "$1"
}

work=$(mktemp -d) || give_up "no place for temporary files"
trap 'rm -rf "$work"' EXIT
mkdir -p "$work"/{parts,state/lists/partial,cache/archives/partial,debs,root}
for file in "$apt_folder"/sources.list.d/*.sources "$apt_folder"/sources.list "$apt_folder"/sources.list.d/*.list; do
  [ -f "$file" ] || continue
  case $file in
  *.sources) kind=sources found=$(from_paragraphs "$file") ;;
  *) kind=list found=$(from_lines "$file") ;;
  esac
  [ -n "$found" ] || continue
  printf '%s\n' "$found" >"$work/parts/own.$kind"
  break
done
[ -e "$work/parts/own.${kind:-}" ] || give_up "no package source for $codename in $apt_folder"
if [ "${SHOW_SOURCE:-}" ]; then
  cat "$work/parts/own.$kind"
  exit 0
fi

apt_get() {
  (cd "$work/debs" && timeout 300 apt-get -qq -o Dir::State="$work/state" -o Dir::State::status=/dev/null \
    -o Dir::Cache="$work/cache" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/parts" \
    -o APT::Sandbox::User= -o Acquire::Languages=none -o Acquire::Retries=2 "$@")
}
apt_get update >&2 || give_up "the list of $suite's packages does not come"
apt_get download "${missing[@]}" >&2 || give_up "${missing[*]} do not come from $suite"

mkdir -p "$out"
for package in "${missing[@]}"; do
  rm -rf "$work/root" && mkdir "$work/root"
  dpkg-deb -x "$work/debs/$package"_*.deb "$work/root" || give_up "$package does not unpack"
  for bundle in "$work"/root/usr/lib/vst3/*.vst3; do
    rm -rf "${out:?}/${bundle##*/}"
    mv "$bundle" "$out/"
  done
  touch "$out/.$package"
done
echo "fetched ${missing[*]} into $out"
